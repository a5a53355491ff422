"""Notes of a channel worker about its providers, in the store, for ``aoi status --channels``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.domain.providers.breaker import Breaker, BreakerState
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import ConnectionlessChannel, Guarded
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

FRESH: Final = timedelta(seconds=60)
"""Health that was noted longer ago belongs to a worker that no longer runs."""

_LOOK_EVERY: Final = 1.0
_NOTE_EVERY: Final = timedelta(seconds=15)
_FORGET_AFTER: Final = timedelta(hours=1)
_MOST: Final = 100


class HealthNotes:
    """Writes the state of the providers of one worker's channel on changes, and periodically.

    There may be any number of providers that devices name: at most a hundred of those in trouble
    are noted, those first that have been so for longest.
    """

    def __init__(
        self,
        channel_type: str,
        worker: str,
        channel: ConnectionlessChannel,
        store: Store,
        clock: Clock,
    ) -> None:
        self._type = channel_type
        self._worker = worker
        self._channel = channel
        self._store = store
        self._clock = clock
        self._noted: Sequence[ProviderHealth] = ()

    async def run(self) -> None:
        """Run until cancelled; then delete the notes of this worker."""
        try:
            while True:
                noted = await self._update()
                # A store that is away is not asked, and complained of, every second.
                await self._clock.sleep(_LOOK_EVERY if noted else _NOTE_EVERY.total_seconds())
        finally:
            await self._note([], self._clock.now())

    async def _update(self) -> bool:
        """Write the notes if they changed or are due; False: the store is unavailable."""
        now = self._clock.now()
        found = self._found(now)
        before = [replace(each, seen_at=now) for each in self._noted]
        due = not self._noted or now - self._noted[0].seen_at >= _NOTE_EVERY
        if found == before and not due:
            return True
        noted = await self._note(found, now)
        if noted:
            self._noted = found
        return noted

    def _found(self, now: datetime) -> list[ProviderHealth]:
        known: dict[str, Breaker] = {}
        if isinstance(self._channel, Guarded):
            trouble = self._channel.in_trouble
            known |= {name: Breaker() for name in self._channel.providers}
            oldest = sorted(trouble, key=lambda name: trouble[name].since or now)
            known |= {name: trouble[name] for name in oldest[:_MOST]}
        everything = ProviderHealth(self._type, self._worker, "", BreakerState.CLOSED, now)
        return [
            everything,
            *(
                ProviderHealth(
                    self._type,
                    self._worker,
                    name,
                    breaker.state,
                    now,
                    breaker.since,
                    breaker.until,
                    breaker.why,
                )
                for name, breaker in sorted(known.items())
            ),
        ]

    async def _note(self, found: Sequence[ProviderHealth], now: datetime) -> bool:
        try:
            async with self._store.transaction() as tx:
                await tx.note_health(self._type, self._worker, found, forget=now - _FORGET_AFTER)
        except PAUSES as fault:
            log.warning("health_not_noted", channel=self._type, error=str(fault))
            return False
        return True
