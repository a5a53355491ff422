"""Queries about parked messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, func, select

from aoi_events.domain.parked import ParkedMessage
from aoi_events.store.bulk_rows import BulkRows, insert_into
from aoi_events.store.queries import Queries
from aoi_events.store.records import PARKED
from aoi_events.store.tables import parked, parked_counts, parked_senders


class ParkingQueries(Queries):
    """The port's section "parked messages"."""

    async def park(self, messages: Sequence[ParkedMessage], *, quota: int) -> Collection[str]:
        """Store parked messages, at most ``quota`` per sender; the rest is counted only.

        Returns the IDs of those that were stored. A message whose ID is known already changes
        nothing.
        """
        if not messages:
            return ()
        stored_by_sender = await self._lock_senders({message.sender for message in messages})
        known = {message.id for message in await self._find(PARKED, {m.id for m in messages})}
        stored: list[ParkedMessage] = []
        skipped: Counter[tuple[str, str]] = Counter()
        for message in messages:
            if message.id in known:
                continue
            known.add(message.id)
            if stored_by_sender[message.sender] < quota:
                stored_by_sender[message.sender] += 1
                stored.append(message)
            else:
                skipped[message.sender, message.code] += 1
        added = await self._insert_new(PARKED, stored)
        await self._count(skipped)
        return {id_ for (id_,) in added}

    async def _lock_senders(self, senders: Collection[str]) -> dict[str, int]:
        """Lock the senders' counts, in key order: the number of stored messages of each."""
        bulk = BulkRows(self._sql, [parked_senders.c.sender])
        parameters = bulk.bind((sender,) for sender in sorted(senders))
        insert = insert_into(self._sql, parked_senders).from_select(
            ["sender"], select(bulk.rows.c.sender).order_by(bulk.n)
        )
        await self._run(insert.on_conflict_do_nothing(index_elements=["sender"]), parameters)
        await self._run(
            select(parked_senders.c.sender)
            .join(bulk.rows, bulk.match)
            .order_by(parked_senders.c.sender)
            .with_for_update(of=parked_senders),
            parameters,
        )
        return dict.fromkeys(senders, 0) | await self._count_by(parked.c.sender, senders)

    async def _count(self, skipped: Mapping[tuple[str, str], int]) -> None:
        if not skipped:
            return
        columns = [parked_counts.c.sender, parked_counts.c.code, parked_counts.c.skipped]
        bulk = BulkRows(self._sql, columns)
        insert = insert_into(self._sql, parked_counts).from_select(
            [column.name for column in columns],
            select(*(bulk.rows.c[column.name] for column in columns)).order_by(bulk.n),
        )
        total = parked_counts.c.skipped + insert.excluded.skipped
        await self._run(
            insert.on_conflict_do_update(
                index_elements=["sender", "code"], set_={"skipped": total}
            ),
            bulk.bind((*key, count) for key, count in sorted(skipped.items())),
        )

    async def parked(
        self, *, ids: Collection[str] | None = None, limit: int = 100
    ) -> Sequence[ParkedMessage]:
        """Parked messages, newest first."""
        newest = select(*PARKED.columns).order_by(parked.c.parked_at.desc(), parked.c.id.desc())
        if ids is None:
            return PARKED.read(await self._run(newest.limit(limit)))
        bulk = BulkRows(self._sql, [parked.c.id])
        chosen = newest.join(bulk.rows, bulk.match).limit(limit)
        return PARKED.read(await self._run(chosen, bulk.bind((id_,) for id_ in set(ids))))

    async def drop_parked(self, ids: Collection[str]) -> int:
        """Delete parked messages; returns how many there were."""
        if not ids:
            return 0
        bulk = BulkRows(self._sql, [parked.c.id])
        dropped = delete(parked).where(parked.c.id.in_(select(bulk.rows.c.id)))
        rows = await self._run(dropped.returning(parked.c.id), bulk.bind((i,) for i in set(ids)))
        return len(rows.all())

    async def parked_counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """(sender, code) → the number stored, and the number counted only."""
        stored = await self._run(
            select(parked.c.sender, parked.c.code, func.count()).group_by(
                parked.c.sender, parked.c.code
            )
        )
        counts = {(sender, code): (count, 0) for sender, code, count in stored}
        for sender, code, skipped in await self._run(select(parked_counts)):
            counts[sender, code] = (counts.get((sender, code), (0, 0))[0], skipped)
        return counts
