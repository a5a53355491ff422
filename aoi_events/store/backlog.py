"""Releases: making a client's stored deliveries due, batch after batch.

A client's row in ``backlogs`` has its newest batch and where that ended. A release locks that row,
so of two workers that settle the last deliveries of a batch at the same time, the second one sees
what the first one did. Only the newest batch has a following one: so a repeated outcome of an
earlier batch releases nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, false, func, literal, or_, select, true, update

from aoi_events.ports.store import Release
from aoi_events.store.bulk_rows import BulkRows, insert_into
from aoi_events.store.queries import Queries
from aoi_events.store.tables import backlogs, deliveries

_OPEN = deliveries.c.settled_at.is_(None)
_WAITS = and_(_OPEN, deliveries.c.idle == true())


class BacklogQueries(Queries):
    """Releases of stored deliveries."""

    async def release(
        self, clients: Collection[str], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """Make the first ``limit`` idle deliveries of each client due, as one new batch each."""
        waiting = await self._with_idle(clients)
        if not waiting:
            return ()
        locked = await self._lock_backlogs(waiting)
        starts = dict.fromkeys(locked, 0)
        return await self._release(locked, starts, now, limit)

    async def release_following(
        self, batches: Collection[tuple[str, int]], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """For each (client, batch) without a delivery that is released or under way: make the next
        ``limit`` idle deliveries after the batch's last due, as a new batch.
        """
        if not batches:
            return ()
        locked = await self._lock_backlogs({client for client, _ in batches}, known_only=True)
        # Only now, behind the lock, does a statement see what the others settled.
        newest = {(client, batch) for client, (batch, _) in locked.items()} & set(batches)
        ended = newest - await self._busy(newest)
        starts = {client: locked[client][1] for client, _ in ended}
        return await self._release(locked, starts, now, limit)

    async def _with_idle(self, clients: Collection[str]) -> Collection[str]:
        """Those of ``clients`` that have anything to release: most that connect have nothing."""
        if not clients:
            return ()
        bulk = BulkRows(self._sql, [deliveries.c.client])
        client = bulk.rows.c.client
        some = select(literal(1)).where(deliveries.c.client == client, _WAITS).exists()
        found = await self._run(
            select(client).select_from(bulk.rows).where(some),
            bulk.bind((client,) for client in sorted(set(clients))),
        )
        return [client for (client,) in found]

    async def _lock_backlogs(
        self, clients: Collection[str], *, known_only: bool = False
    ) -> Mapping[str, tuple[int, int]]:
        """Lock the clients' backlogs, in key order: their newest batch and where it ended."""
        if not clients:
            return {}
        bulk = BulkRows(self._sql, [backlogs.c.client])
        parameters = bulk.bind((client,) for client in sorted(clients))
        if not known_only:
            fresh = select(bulk.rows.c.client, literal(0), literal(0)).order_by(bulk.n)
            added = insert_into(self._sql, backlogs).from_select(["client", "batch", "last"], fresh)
            await self._run(added.on_conflict_do_nothing(index_elements=["client"]), parameters)
        locked = await self._run(
            select(backlogs)
            .join(bulk.rows, bulk.match)
            .order_by(backlogs.c.client)
            .with_for_update(of=backlogs),
            parameters,
        )
        return {client: (batch, last) for client, batch, last in locked}

    async def _busy(self, batches: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of ``batches`` with a delivery that is released or under way."""
        if not batches:
            return set()
        bulk = BulkRows(self._sql, [deliveries.c.client, deliveries.c.batch])
        active = or_(deliveries.c.released == true(), deliveries.c.idle == false())
        found = await self._run(
            select(deliveries.c.client, deliveries.c.batch)
            .join(bulk.rows, bulk.match)
            .where(_OPEN, active)
            .distinct(),
            bulk.bind(sorted(batches)),
        )
        return {(client, batch) for client, batch in found}

    async def _release(
        self,
        locked: Mapping[str, tuple[int, int]],
        starts: Mapping[str, int],
        now: datetime,
        limit: int,
    ) -> Sequence[Release]:
        """Release a new batch for each client of ``starts``, of the idle deliveries after that
        place.
        """
        released: list[tuple[str, int, int]] = []
        remaining = dict(starts)
        while remaining:
            chosen = await self._first_idle(remaining, limit)
            marked = await self._mark(
                [(id_, client, locked[client][0] + 1) for id_, client in chosen], now
            )
            released.extend(marked)
            # Another worker may have settled a chosen delivery before it was locked here; then the
            # next ones take its place, because a batch without members would never end.
            done = {client for client, _, _ in marked}
            remaining = {
                client: start
                for client, start in remaining.items()
                if client not in done and any(client == other for _, other in chosen)
            }
        last: dict[str, int] = {}
        for client, _, order in released:
            last[client] = max(order, last.get(client, 0))
        await self._save_newest(
            [(client, locked[client][0] + 1, last[client]) for client in sorted(last)]
        )
        counts = Counter((client, batch) for client, batch, _ in released)
        return [Release(client, batch, count) for (client, batch), count in sorted(counts.items())]

    async def _first_idle(self, starts: Mapping[str, int], limit: int) -> list[tuple[str, str]]:
        bulk = BulkRows(self._sql, [deliveries.c.client, deliveries.c.order])
        place = func.row_number().over(
            partition_by=deliveries.c.client, order_by=deliveries.c.order
        )
        ranked = (
            select(deliveries.c.id, deliveries.c.client, place.label("place"))
            .join(bulk.rows, bulk.rows.c.client == deliveries.c.client)
            .where(_WAITS, deliveries.c.order > bulk.rows.c.order)
            .subquery("ranked")
        )
        found = await self._run(
            select(ranked.c.id, ranked.c.client)
            .where(ranked.c.place <= limit)
            .order_by(ranked.c.id),
            bulk.bind(sorted(starts.items())),
        )
        return [(id_, client) for id_, client in found]

    async def _mark(
        self, chosen: Sequence[tuple[str, str, int]], now: datetime
    ) -> list[tuple[str, int, int]]:
        """Make deliveries due, if they are still idle: (client, batch, order) of each."""
        if not chosen:
            return []
        bulk = BulkRows(self._sql, [deliveries.c.id, deliveries.c.client, deliveries.c.batch])
        parameters = bulk.bind(chosen)
        await self._lock(deliveries, bulk, parameters)
        marked = await self._run(
            update(deliveries)
            .where(deliveries.c.id == bulk.rows.c.id, _WAITS)
            .values(deadline=now, released=True, batch=bulk.rows.c.batch)
            .returning(deliveries.c.client, deliveries.c.batch, deliveries.c.order),
            parameters,
        )
        return [(client, batch, order) for client, batch, order in marked]

    async def _save_newest(self, newest: Sequence[tuple[str, int, int]]) -> None:
        if newest:
            bulk = BulkRows(self._sql, [backlogs.c.client, backlogs.c.batch, backlogs.c.last])
            await self._run(
                update(backlogs)
                .where(backlogs.c.client == bulk.rows.c.client)
                .values(batch=bulk.rows.c.batch, last=bulk.rows.c.last),
                bulk.bind(newest),
            )
