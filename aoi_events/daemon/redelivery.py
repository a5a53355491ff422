"""Tries again what a command could not take: by asking the AOI Server for what it has stored.

The server sends that when an app registers again, and does not know when a command could succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aoi_events.client import Backoff
from aoi_events.client.core.reconnect import pause
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock, Dice

__all__ = ["Again"]

log = get_logger(__name__)

_MOST: Final = 3_600.0


class Again:
    """Asks for each app instance that could not be woken, ``first`` seconds later.

    The pause doubles while it goes on failing, up to an hour, less up to half at random. A restart
    forgets it: a new connection gets everything that is stored.
    """

    def __init__(self, first: float, clock: Clock, dice: Dice) -> None:
        self._backoff = Backoff(first=first, most=max(first, _MOST))
        self._clock = clock
        self._dice = dice
        self._failures: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ask: Callable[[str], Awaitable[None]] | None = None

    def start(self, ask: Callable[[str], Awaitable[None]]) -> None:
        """From now on ``ask`` is told for which app instance to ask."""
        self._ask = ask

    def stop(self) -> None:
        """Ask for nothing any more."""
        self._ask = None
        for task in self._tasks:
            task.cancel()

    def woken(self, key: str) -> None:
        """The command has taken a notification."""
        self._failures.pop(key, None)

    def failed(self, key: str) -> None:
        """The command has not; one question covers whatever else it does not take until then."""
        if key in self._waiting or self._ask is None:
            return
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = pause(self._backoff, self._failures[key], self._dice.jitter())
        task = asyncio.create_task(self._later(key, seconds, self._ask), name=f"again {key}")
        self._waiting.add(key)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, key: str, seconds: float, ask: Callable[[str], Awaitable[None]]) -> None:
        await self._clock.sleep(seconds)
        # What fails from now on is a failure after this question, and needs another one.
        self._waiting.discard(key)
        log.info("asked_again", app=key)
        await ask(key)
