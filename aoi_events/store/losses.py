"""Queries about the losses of clients: notifications that exceeded the backlog."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aoi_events.domain.clients.losses import Loss
from aoi_events.store import records
from aoi_events.store.queries import Queries
from aoi_events.store.records import LOSSES
from aoi_events.store.tables import losses


class LossQueries(Queries):
    """The port's section "losses"."""

    async def count_lost(self, counts: Mapping[str, int]) -> None:
        """Add to the number of lost notifications of each client."""
        if not counts:
            return
        added = [Loss(client, lost) for client, lost in counts.items()]
        statement = records.insert(self._sql, LOSSES)
        excluded = statement.sql.excluded
        counted = statement.sql.on_conflict_do_update(
            index_elements=[losses.c.client], set_={"lost": losses.c.lost + excluded.lost}
        )
        await self._run(counted, statement.bulk.bind(LOSSES.rows(added, LOSSES.written)))

    async def losses(self, clients: Collection[str]) -> Mapping[str, Loss]:
        """The losses of these clients; absent: no notification was ever lost."""
        return {loss.client: loss for loss in await self._find(LOSSES, clients)}

    async def save_losses(self, losses: Sequence[Loss]) -> None:
        """Insert or replace, by client."""
        await self._replace(LOSSES, losses)
