"""Compares this machine's clock with the store's, which all workers share.

Deadlines and expiry are compared with each worker's own clock: a clock that is ahead would expire
notifications too early. So a jump of the clock counts only once both clocks were compared.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store
from aoi_events.services.runtime.pausing import Stopped, sleep_unless_stopped

log = get_logger(__name__)

_WARN_ABOVE: Final = timedelta(seconds=1)
_AGAIN_AFTER: Final = 30.0
_JUMP: Final = timedelta(seconds=1)


class SteadyClock:
    """A clock that ignores jumps of ``clock`` until :meth:`trust` accepts them.

    The clock of a machine that slept has jumped ahead, too: until then its time is late by as much,
    which does no harm.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.trust()

    def now(self) -> datetime:
        """The time now, in UTC."""
        shown = self._clock.now()
        steady = self._since + timedelta(seconds=time.monotonic() - self._elapsed)
        return shown if abs(shown - steady) <= _JUMP else steady

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await self._clock.sleep(seconds)

    def trust(self) -> None:
        """Accept the time that the clock shows now."""
        self._since, self._elapsed = self._clock.now(), time.monotonic()


class Clocks:
    """Compares the clocks of machine and store, at the start and while workers run.

    ``steady`` is the clock for workers: it jumps only where a comparison confirmed the jump.
    """

    def __init__(self, store: Store, clock: Clock, *, apart: float) -> None:
        """``apart``: seconds by which they may differ."""
        self.steady = SteadyClock(clock)
        self._store = store
        self._clock = clock
        self._apart = timedelta(seconds=apart)

    async def compare(self) -> None:
        """Compare once. Raises ConfigurationError where they are too far apart, StoreUnavailable.

        The time that the store took to answer does not count as a difference.
        """
        ahead = await self._ahead()
        if abs(ahead) > self._apart:
            # One of the clocks may have been corrected just now.
            ahead = await self._ahead()
        difference = abs(ahead)
        side = "ahead of" if ahead > timedelta() else "behind"
        apart = f"{difference.total_seconds():.1f} s {side}"
        if difference > self._apart:
            raise ConfigurationError(
                f"this machine's clock is {apart} the store's, so that notifications would expire "
                "at the wrong time; set both clocks by NTP (chrony, systemd-timesyncd); "
                f"AOI_CLOCK_APART allows {self._apart.total_seconds():g} s"
            )
        if difference > _WARN_ABOVE:
            log.warning(
                "clocks_differ", this_machine=f"{apart} the store's", hint="is NTP running?"
            )
        self.steady.trust()

    async def _ahead(self) -> timedelta:
        """How far this machine's clock is ahead of the store's; negative: how far behind."""
        before = self._clock.now()
        there = await self._store.now()
        after = self._clock.now()
        if there is None or before <= there <= after:
            return timedelta()
        return before - there if before > there else after - there

    async def watch(self, stop: asyncio.Event) -> None:
        """Compare periodically until ``stop``. Raises ConfigurationError."""
        while True:
            try:
                await sleep_unless_stopped(self._clock, _AGAIN_AFTER, stop)
                await self.compare()
            except Stopped:
                return
            except InfrastructureError as fault:
                log.info("clocks_not_compared", error=str(fault))
