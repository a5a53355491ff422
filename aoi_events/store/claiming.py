"""Claims of due deliveries: one worker claims all of a released batch.

The order of a released batch is preserved only when one worker sends it, so a claim takes all of
it. The first of its due rows stands for the others: only that one is searched for, and the worker
that locks it takes the others, too. For every other worker it stays the first until the claim is
committed, so none of them can take the rows behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from aoi_events.store.bulk_rows import BulkRows
from aoi_events.store.queries import Queries
from aoi_events.store.tables import deliveries

_BATCHED = and_(deliveries.c.released == true(), deliveries.c.batch.is_not(None))


def due(now: datetime, limit: int) -> Select[Any]:
    """Due deliveries, earliest first, locked; those locked by others are skipped: ID, deadline,
    whether released, client, batch. Of a released batch only the first, and how many of it are due
    (0: it is not of one).
    """
    one = deliveries.alias("one")
    earlier = exists().where(_due_beside(one, now), one.c.order < deliveries.c.order)
    together = select(func.count()).where(_due_beside(one, now)).scalar_subquery()
    return (
        select(
            deliveries.c.id,
            deliveries.c.deadline,
            deliveries.c.released,
            deliveries.c.client,
            deliveries.c.batch,
            case((_BATCHED, together), else_=0),
        )
        .where(
            deliveries.c.deadline <= now,
            or_(deliveries.c.released == false(), deliveries.c.batch.is_(None), ~earlier),
        )
        .order_by(deliveries.c.deadline, deliveries.c.order)
        .limit(limit)
        .with_for_update(of=deliveries, skip_locked=True)
    )


def _due_beside(other: FromClause, now: datetime) -> ColumnElement[bool]:
    """Whether ``other`` is a due delivery of the same released batch."""
    return and_(
        other.c.client == deliveries.c.client,
        other.c.batch == deliveries.c.batch,
        other.c.released == true(),
        other.c.deadline <= now,
    )


class ClaimQueries(Queries):
    """Claims for the deadlines worker."""

    async def claim_due(
        self, now: datetime, limit: int, *, until: datetime
    ) -> Mapping[str, datetime | None]:
        """IDs of deliveries whose deadline has passed, earliest first, and that deadline (None: the
        delivery was released, and was due at once); it becomes ``until``.
        """
        claimed: dict[str, datetime | None] = {}
        batches: list[tuple[str, int]] = []
        room = limit
        for id_, deadline, released, client, batch, together in await self._run(due(now, limit)):
            if room <= 0:
                break
            claimed[id_] = None if released else deadline
            if together > 1:
                batches.append((client, batch))
            room -= max(together, 1)
        for id_ in await self._behind(batches, now):
            claimed.setdefault(id_)
        if claimed:
            bulk = BulkRows(self._sql, [deliveries.c.id])
            await self._run(
                update(deliveries).where(bulk.match).values(deadline=until),
                bulk.bind((id_,) for id_ in claimed),
            )
        return claimed

    async def _behind(self, batches: Sequence[tuple[str, int]], now: datetime) -> list[str]:
        """All due deliveries of released ``batches``, locked; those locked by others are skipped,
        because they lock in another order.
        """
        if not batches:
            return []
        bulk = BulkRows(self._sql, [deliveries.c.client, deliveries.c.batch])
        found = await self._run(
            select(deliveries.c.id)
            .join(bulk.rows, bulk.match)
            .where(deliveries.c.released == true(), deliveries.c.deadline <= now)
            .order_by(bulk.n, deliveries.c.order)
            .with_for_update(of=deliveries, skip_locked=True),
            bulk.bind(batches),
        )
        return [id_ for (id_,) in found]
