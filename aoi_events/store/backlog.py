"""Releases: making a client's stored deliveries due, batch after batch.

A client's row in ``backlogs`` knows its newest batch and where that ended. Who releases holds that
row, so of two workers that settle the last deliveries of a batch at the same time, the second one
sees what the first one did. Only the newest batch can be followed: so a repeated outcome of an
earlier one releases nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, false, func, literal, or_, select, true, update

from aoi_events.ports.store import Release
from aoi_events.store.bulk_rows import Given, insert_into
from aoi_events.store.queries import Queries
from aoi_events.store.tables import backlogs, deliveries

__all__ = ["BacklogQueries"]

_OPEN = deliveries.c.settled_at.is_(None)
_WAITS = and_(_OPEN, deliveries.c.resting == true())


class BacklogQueries(Queries):
    """Releases of stored deliveries."""

    async def release(
        self, clients: Collection[str], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """Make the first ``limit`` resting deliveries of each client due, as one new batch each."""
        waiting = await self._waiting(clients)
        if not waiting:
            return ()
        held = await self._hold(waiting)
        starts = dict.fromkeys(held, 0)
        return await self._release(held, starts, now, limit)

    async def release_following(
        self, batches: Collection[tuple[str, int]], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """For each (client, batch) with no delivery left that is released or under way: make the
        next ``limit`` resting deliveries after the batch's last due, as a new batch.
        """
        if not batches:
            return ()
        held = await self._hold({client for client, _ in batches}, known_only=True)
        # Only now, behind the lock, does a statement see what the others settled.
        newest = {(client, batch) for client, (batch, _) in held.items()} & set(batches)
        ended = newest - await self._busy(newest)
        starts = {client: held[client][1] for client, _ in ended}
        return await self._release(held, starts, now, limit)

    async def _waiting(self, clients: Collection[str]) -> Collection[str]:
        """Those of ``clients`` that have anything to release: most that connect have nothing."""
        if not clients:
            return ()
        given = Given(self._sql, [deliveries.c.client])
        client = given.rows.c.client
        some = select(literal(1)).where(deliveries.c.client == client, _WAITS).exists()
        found = await self._run(
            select(client).select_from(given.rows).where(some),
            given.bind((client,) for client in sorted(set(clients))),
        )
        return [client for (client,) in found]

    async def _hold(
        self, clients: Collection[str], *, known_only: bool = False
    ) -> Mapping[str, tuple[int, int]]:
        """Lock the clients' backlogs, in key order: their newest batch and where it ended."""
        if not clients:
            return {}
        given = Given(self._sql, [backlogs.c.client])
        parameters = given.bind((client,) for client in sorted(clients))
        if not known_only:
            fresh = select(given.rows.c.client, literal(0), literal(0)).order_by(given.n)
            added = insert_into(self._sql, backlogs).from_select(["client", "batch", "last"], fresh)
            await self._run(added.on_conflict_do_nothing(index_elements=["client"]), parameters)
        held = await self._run(
            select(backlogs)
            .join(given.rows, given.rows.c.client == backlogs.c.client)
            .order_by(backlogs.c.client)
            .with_for_update(of=backlogs),
            parameters,
        )
        return {client: (batch, last) for client, batch, last in held}

    async def _busy(self, batches: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of ``batches`` with a delivery that is released or under way."""
        if not batches:
            return set()
        given = Given(self._sql, [deliveries.c.client, deliveries.c.batch])
        active = or_(deliveries.c.released == true(), deliveries.c.resting == false())
        found = await self._run(
            select(deliveries.c.client, deliveries.c.batch)
            .join(
                given.rows,
                and_(
                    given.rows.c.client == deliveries.c.client,
                    given.rows.c.batch == deliveries.c.batch,
                ),
            )
            .where(_OPEN, active)
            .distinct(),
            given.bind(sorted(batches)),
        )
        return {(client, batch) for client, batch in found}

    async def _release(
        self,
        held: Mapping[str, tuple[int, int]],
        starts: Mapping[str, int],
        now: datetime,
        limit: int,
    ) -> Sequence[Release]:
        """A new batch for each client of ``starts``, of what rests after that place."""
        released: list[tuple[str, int, int]] = []
        remaining = dict(starts)
        while remaining:
            chosen = await self._first_resting(remaining, limit)
            marked = await self._mark(
                [(id_, client, held[client][0] + 1) for id_, client in chosen], now
            )
            released.extend(marked)
            # Whatever was chosen may have been settled by somebody before we had its lock; then
            # the next ones take its place, or nobody would ever follow a batch without members.
            done = {client for client, _, _ in marked}
            remaining = {
                client: start
                for client, start in remaining.items()
                if client not in done and any(client == other for _, other in chosen)
            }
        last: dict[str, int] = {}
        for client, _, order in released:
            last[client] = max(order, last.get(client, 0))
        await self._note([(client, held[client][0] + 1, last[client]) for client in sorted(last)])
        counts = Counter((client, batch) for client, batch, _ in released)
        return [Release(client, batch, count) for (client, batch), count in sorted(counts.items())]

    async def _first_resting(self, starts: Mapping[str, int], limit: int) -> list[tuple[str, str]]:
        given = Given(self._sql, [deliveries.c.client, deliveries.c.order])
        place = func.row_number().over(
            partition_by=deliveries.c.client, order_by=deliveries.c.order
        )
        ranked = (
            select(deliveries.c.id, deliveries.c.client, place.label("place"))
            .join(given.rows, given.rows.c.client == deliveries.c.client)
            .where(_WAITS, deliveries.c.order > given.rows.c.order)
            .subquery("ranked")
        )
        found = await self._run(
            select(ranked.c.id, ranked.c.client)
            .where(ranked.c.place <= limit)
            .order_by(ranked.c.id),
            given.bind(sorted(starts.items())),
        )
        return [(id_, client) for id_, client in found]

    async def _mark(
        self, chosen: Sequence[tuple[str, str, int]], now: datetime
    ) -> list[tuple[str, int, int]]:
        """Make deliveries due, if they still rest: (client, batch, order) of each."""
        if not chosen:
            return []
        given = Given(self._sql, [deliveries.c.id, deliveries.c.client, deliveries.c.batch])
        parameters = given.bind(chosen)
        # Locked in key order first: an UPDATE takes its rows in any order.
        await self._run(
            select(deliveries.c.id)
            .join(given.rows, given.rows.c.id == deliveries.c.id)
            .order_by(deliveries.c.id)
            .with_for_update(of=deliveries),
            parameters,
        )
        marked = await self._run(
            update(deliveries)
            .where(deliveries.c.id == given.rows.c.id, _WAITS)
            .values(deadline=now, released=True, batch=given.rows.c.batch)
            .returning(deliveries.c.client, deliveries.c.batch, deliveries.c.order),
            parameters,
        )
        return [(client, batch, order) for client, batch, order in marked]

    async def _note(self, newest: Sequence[tuple[str, int, int]]) -> None:
        if newest:
            given = Given(self._sql, [backlogs.c.client, backlogs.c.batch, backlogs.c.last])
            await self._run(
                update(backlogs)
                .where(backlogs.c.client == given.rows.c.client)
                .values(batch=given.rows.c.batch, last=given.rows.c.last),
                given.bind(newest),
            )
