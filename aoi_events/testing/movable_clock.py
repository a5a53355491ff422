"""A clock that runs as the machine's does, and can be put forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class MovableClock:
    """The clock port; `advance` puts it forward, as a machine's clock can be at any time.

    Everything that the server decides by the time follows: times to live, deadlines, retries,
    proofs, retention. What is measured on the wire (pings, time-outs of requests, the SMSC) and
    the devices keep real time.
    """

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC) + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock."""
        until = self.now() + timedelta(seconds=seconds)
        await asyncio.sleep(0)
        while (left := (until - self.now()).total_seconds()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                continue

    def advance(self, seconds: float) -> None:
        """Put the clock forward and wake sleepers whose time has come. Raises ValueError."""
        if seconds < 0:
            raise ValueError(f"a clock is put forward, not by {seconds:g} s")
        self._ahead += timedelta(seconds=seconds)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
