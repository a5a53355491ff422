"""A clock that stands still until a test advances it, and dice without chance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count


class ManualClock:
    """A clock (see :class:`aoi_events.ports.clock.Clock`) that stands still until advanced."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._slept = asyncio.Event()

    def now(self) -> datetime:
        """The time that the test has reached."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wakes_at = self._now + timedelta(seconds=seconds)
        heappush(self._sleepers, (wakes_at, next(self._numbers), woken))
        self._slept.set()
        await woken

    async def somebody_sleeps(self) -> None:
        """Return as soon as any task sleeps; await it before you advance the clock for it."""
        while not any(not woken.done() for _, _, woken in self._sleepers):
            self._slept.clear()
            await self._slept.wait()

    def advance(self, seconds: float) -> datetime:
        """Advance the clock, and wake sleepers whose time has come."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            woken = heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
        return self._now


class FixedDice:
    """Dice (see :class:`aoi_events.ports.clock.Dice`) without chance; names stay unique."""

    def __init__(self, jitter: float = 0.5) -> None:
        self._jitter = jitter
        self._numbers = count(1)

    def jitter(self) -> float:
        """Always the same."""
        return self._jitter

    def token_hex(self, octets: int) -> str:
        """The next number, in hexadecimal; guessable."""
        return f"{next(self._numbers):0{2 * octets}x}"
