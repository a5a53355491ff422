"""Queries about the health of providers, and the deliveries that wait for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, or_, select, true

from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.store.queries import Queries
from aoi_events.store.records import HEALTH
from aoi_events.store.tables import deliveries, health

_MOST: Final = 10_000


class HealthQueries(Queries):
    """The port's section "health"."""

    async def note_health(
        self, channel: str, worker: str, found: Sequence[ProviderHealth], *, forget: datetime
    ) -> None:
        """Replace the notes of that worker; delete notes from before ``forget``."""
        own = (health.c.channel == channel) & (health.c.worker == worker)
        await self._run(delete(health).where(or_(own, health.c.seen_at < forget)))
        await self._replace(HEALTH, found)

    async def health(self, since: datetime) -> Sequence[ProviderHealth]:
        """The notes since then, by channel, provider and worker."""
        order = (health.c.channel, health.c.provider, health.c.worker)
        found = select(*HEALTH.columns).where(health.c.seen_at >= since).order_by(*order)
        return HEALTH.read(await self._run(found.limit(_MOST)))

    async def count_awaiting_provider(self, limit: int) -> Mapping[str, int]:
        """By channel, the number of deliveries that wait for a provider that is down; at most
        ``limit`` are counted.
        """
        found = (
            select(deliveries.c.steps).where(deliveries.c.awaits_provider == true()).limit(limit)
        )
        rows = await self._run(found)
        waiting: Counter[str] = Counter()
        for (steps,) in rows:
            waiting.update({state.step.channel for state in steps if state.awaits_provider})
        return waiting
