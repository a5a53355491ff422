"""Notes of a channel worker about its providers, in the store, for ``aoi status --channels``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.domain.providers.breaker import Breaker
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import ConnectionlessChannel, Guarded
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)


_LOOK_EVERY: Final = 1.0
_NOTE_EVERY: Final = timedelta(seconds=15)
_FORGET_AFTER: Final = timedelta(hours=1)
_MOST: Final = 100


@dataclass(slots=True)
class HealthNotes:
    """Writes the state of the providers of one worker's channel on changes, and periodically.

    There may be any number of providers that devices name: at most a hundred of those in trouble
    are noted, those first that have been so for longest.
    """

    channel_type: str
    worker: str
    channel: ConnectionlessChannel
    store: Store
    clock: Clock
    noted: Sequence[ProviderHealth] = field(default=(), init=False)

    async def run(self) -> None:
        """Run until cancelled; then delete the notes of this worker."""
        try:
            while True:
                noted = await self._update()
                # A store that is away is not asked, and complained of, every second.
                await self.clock.sleep(_LOOK_EVERY if noted else _NOTE_EVERY.total_seconds())
        finally:
            await self._note([], self.clock.now())

    async def _update(self) -> bool:
        """Write the notes if they changed or are due; False: the store is unavailable."""
        now = self.clock.now()
        found = self._found(now)
        before = [replace(each, seen_at=now) for each in self.noted]
        due = not self.noted or now - self.noted[0].seen_at >= _NOTE_EVERY
        if found == before and not due:
            return True
        noted = await self._note(found, now)
        if noted:
            self.noted = found
        return noted

    def _found(self, now: datetime) -> list[ProviderHealth]:
        known: dict[str, Breaker] = {}
        if isinstance(self.channel, Guarded):
            trouble = self.channel.in_trouble
            known |= {name: Breaker() for name in self.channel.providers}
            oldest = sorted(trouble, key=lambda name: trouble[name].since or now)
            known |= {name: trouble[name] for name in oldest[:_MOST]}
        # The worker itself first: it serves every provider that is not named.
        every = [("", Breaker()), *sorted(known.items())]
        return [
            ProviderHealth(
                self.channel_type,
                self.worker,
                name,
                breaker.state,
                now,
                breaker.since,
                breaker.until,
                breaker.why,
            )
            for name, breaker in every
        ]

    async def _note(self, found: Sequence[ProviderHealth], now: datetime) -> bool:
        try:
            async with self.store.transaction() as tx:
                await tx.note_health(
                    self.channel_type, self.worker, found, forget=now - _FORGET_AFTER
                )
        except PAUSES as fault:
            log.warning("health_not_noted", channel=self.channel_type, error=str(fault))
            return False
        return True
