"""Redelivery: requests notifications again that a command could not take.

The AOI Server sends what it has stored when an app instance registers again. It does not know when
a command could succeed, so the daemon registers again after a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aoi_events.domain.retry import Backoff
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock, Dice

log = get_logger(__name__)

_MOST: Final = 3_600.0


class Redelivery:
    """Registers an app instance again, ``first`` seconds after its command failed.

    The pause doubles at each further failure, up to an hour, and is shortened by up to half at
    random. A restart forgets the failures: a new connection gets everything that is stored.
    """

    def __init__(self, first: float, clock: Clock, dice: Dice) -> None:
        self._backoff = Backoff(first=first, ceiling=max(first, _MOST))
        self._clock = clock
        self._dice = dice
        self._failures: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._register: Callable[[str], Awaitable[None]] | None = None

    def start(self, register: Callable[[str], Awaitable[None]]) -> None:
        """From now on call ``register`` with the key of an app instance."""
        self._register = register

    def stop(self) -> None:
        """Cancel everything that is planned."""
        self._register = None
        for task in self._tasks:
            task.cancel()

    def succeeded(self, key: str) -> None:
        """The command took a notification: the next pause is the first one again."""
        self._failures.pop(key, None)

    def failed(self, key: str) -> None:
        """The command did not take a notification: plan a registration, if none is planned."""
        if key in self._waiting or self._register is None:
            return
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = self._backoff.delay(failures, self._dice.jitter())
        task = asyncio.create_task(
            self._register_later(key, pause, self._register), name=f"redelivery {key}"
        )
        self._waiting.add(key)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _register_later(
        self, key: str, pause: float, register: Callable[[str], Awaitable[None]]
    ) -> None:
        await self._clock.sleep(pause)
        # A failure from now on comes after this registration, and needs another one.
        self._waiting.discard(key)
        log.info("redelivery_requested", app=key)
        await register(key)
