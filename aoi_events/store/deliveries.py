"""Queries about deliveries: the most frequent ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Final

from sqlalchemy import Column, ColumnElement, false, select, true, update

from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Lock
from aoi_events.store import records
from aoi_events.store.bulk_rows import BulkRows
from aoi_events.store.queries import Queries
from aoi_events.store.records import DELIVERIES
from aoi_events.store.tables import deliveries
from aoi_events.store.types import Instant

_CLAIM: Final[Column[datetime]] = Column("claim", Instant())
_STEPS: Final[Column[object]] = Column("known_steps", deliveries.c.steps.type)


class DeliveryQueries(Queries):
    """The port's section "notifications and deliveries", without claims and releases."""

    async def deliveries(
        self, ids: Collection[str], lock: Lock = Lock.NONE
    ) -> Mapping[str, Delivery]:
        """Deliveries by ID, locked in key order."""
        found = await self._find(DELIVERIES, ids, lock=lock)
        return {delivery.id: delivery for delivery in found}

    async def deliveries_named(self, notification: str) -> Sequence[Delivery]:
        """All deliveries of every sender's notification of that ID (for operators), in ID order."""
        return await self._find(DELIVERIES, [notification], ("notification",))

    async def deliveries_of(self, sender: str, notification: str) -> Sequence[Delivery]:
        """All deliveries of a notification, in ID order."""
        return await self._find(DELIVERIES, [(sender, notification)], ("sender", "notification"))

    async def add_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Insert; the store assigns ``order`` in the sequence's order. IDs are new."""
        if deliveries:
            rows = map(attrgetter(*DELIVERIES.written), deliveries)
            await self._run_with_rows(records.insert(self._sql, DELIVERIES), rows)

    async def save_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Update the columns of these rows that may change (all but identity and acceptance)."""
        if deliveries:
            names = records.changing(DELIVERIES)
            statement = records.change(self._sql, DELIVERIES, names)
            await self._run_with_rows(statement, DELIVERIES.rows(deliveries, names))

    async def mark_published(
        self, claimed: Sequence[tuple[str, datetime, datetime | None]]
    ) -> None:
        """Mark deliveries as published: (ID, deadline that claims it, deadline from now on)."""
        if not claimed:
            return
        bulk = BulkRows(self._sql, [deliveries.c.id, _CLAIM, deliveries.c.deadline])
        parameters = bulk.bind(sorted(claimed, key=itemgetter(0)))
        await self._lock(deliveries, bulk, parameters)
        await self._run(
            update(deliveries)
            .where(
                deliveries.c.id == bulk.rows.c.id,
                deliveries.c.deadline == bulk.rows.c.claim,
                deliveries.c.published == false(),
            )
            .values(published=True, deadline=bulk.rows.c.deadline),
            parameters,
        )

    async def postpone(self, moved: Sequence[tuple[Delivery, Delivery]]) -> None:
        """Write later times of attempts: (the delivery as it was committed, as it is from now on),
        where steps and deadline are still the same.
        """
        if not moved:
            return
        own = deliveries.c
        bulk = BulkRows(
            self._sql, [own.id, _STEPS, _CLAIM, own.steps, own.deadline, own.planned_at]
        )
        changed = bulk.rows.c
        locked = (
            select(own.id, changed.steps, changed.deadline, changed.planned_at)
            .join(bulk.rows, own.id == changed.id)
            .where(own.steps == changed.known_steps, own.deadline == changed.claim)
            .order_by(own.id)
            .with_for_update(of=deliveries)
            .cte("locked")
        )
        await self._run(
            update(deliveries)
            .where(own.id == locked.c.id)
            .values({name: locked.c[name] for name in ("steps", "deadline", "planned_at")}),
            bulk.bind(
                (was.id, was.steps, was.deadline, row.steps, row.deadline, row.planned_at)
                for was, row in sorted(moved, key=lambda pair: pair[0].id)
            ),
        )

    async def open_deliveries_of(self, clients: Collection[str]) -> Sequence[Delivery]:
        """Every delivery of these clients that is not settled, locked in key order."""
        return await self._find_open({(client,) for client in clients}, ("client",))

    async def open_of_topics(
        self, keys: Collection[tuple[str, str, str, str]]
    ) -> Sequence[Delivery]:
        """Deliveries not settled by (client, fingerprint, sender, topic), locked in key order."""
        names = ("client", "fingerprint", "sender", "topic")
        return await self._find_open(set(keys), names, deliveries.c.topic.is_not(None))

    async def _find_open(
        self,
        values: Collection[tuple[str, ...]],
        names: Sequence[str],
        *conditions: ColumnElement[bool],
    ) -> Sequence[Delivery]:
        """Deliveries not settled, by these values of ``names``, locked in key order."""
        if not values:
            return []
        bulk = BulkRows(self._sql, [deliveries.c[name] for name in names])
        found = (
            select(*DELIVERIES.columns)
            .join(bulk.rows, bulk.match)
            .where(deliveries.c.settled_at.is_(None), *conditions)
            .order_by(deliveries.c.id)
            .with_for_update(of=deliveries)
        )
        return DELIVERIES.read(await self._run(found, bulk.bind(sorted(values))))

    async def count_deferred(self, clients: Collection[str]) -> Mapping[str, int]:
        """The number of deferred deliveries of each client (absent: none)."""
        deferred = (deliveries.c.settled_at.is_(None), deliveries.c.deferred == true())
        return await self._count_by(deliveries.c.client, clients, *deferred)
