"""This machine's clock beside the store's, which all workers share.

Deadlines and expiry are compared with each worker's own clock: one that is ahead would let
notifications expire that have time left.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.ports.clock import Clock
from aoi_events.ports.logs import get_logger
from aoi_events.ports.store import Store
from aoi_events.services.resting import Stopped, rest

__all__ = ["Clocks"]

log = get_logger(__name__)

_WARN_ABOVE: Final = timedelta(seconds=1)
_AGAIN_AFTER: Final = 30.0


class Clocks:
    """Compares the two, at the start and for as long as workers run."""

    def __init__(self, store: Store, clock: Clock, *, apart: float) -> None:
        """``apart``: seconds by which they may differ."""
        self._store = store
        self._clock = clock
        self._apart = timedelta(seconds=apart)

    async def compare(self) -> None:
        """Raises ConfigurationError where they are too far apart, StoreUnavailable.

        What the answer of the store took is no difference: neither clock is blamed for it.
        """
        ahead = await self._ahead()
        if abs(ahead) > self._apart:
            # One of the clocks may have been set right just then.
            ahead = await self._ahead()
        difference = abs(ahead)
        side = "ahead of" if ahead > timedelta() else "behind"
        said = f"{difference.total_seconds():.1f} s {side}"
        if difference > self._apart:
            raise ConfigurationError(
                f"this machine's clock is {said} the store's, so that notifications would expire "
                "at the wrong time; let NTP keep the clocks of both (chrony, systemd-timesyncd); "
                f"AOI_CLOCK_APART allows {self._apart.total_seconds():g} s"
            )
        if difference > _WARN_ABOVE:
            log.warning("clocks_differ", this_machine=f"{said} the store's", hint="is NTP running?")

    async def _ahead(self) -> timedelta:
        """How far this machine's clock is ahead of the store's; negative: how far behind."""
        before = self._clock.now()
        there = await self._store.now()
        after = self._clock.now()
        if there is None or before <= there <= after:
            return timedelta()
        return before - there if before > there else after - there

    async def watch(self, stop: asyncio.Event) -> None:
        """Compare again and again until ``stop``. Raises ConfigurationError."""
        while True:
            try:
                await rest(self._clock, _AGAIN_AFTER, stop)
                await self.compare()
            except Stopped:
                return
            except InfrastructureError as fault:
                log.info("clocks_not_compared", error=str(fault))
