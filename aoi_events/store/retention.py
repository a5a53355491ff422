"""Retention: removing rows that are not needed any more, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Table,
    and_,
    delete,
    exists,
    literal_column,
    select,
)

from aoi_events.ports.store import Kind
from aoi_events.store.bulk_rows import BulkRows
from aoi_events.store.queries import Queries
from aoi_events.store.tables import (
    challenges,
    clients,
    deliveries,
    notifications,
    parked,
    provider_messages,
    submissions,
)


class RetentionQueries(Queries):
    """The port's section "retention"."""

    async def retain(self, kind: Kind, *, before: datetime, limit: int) -> int:
        """Remove at most ``limit`` rows of a kind that ended before then; returns the number."""
        match kind:
            case Kind.DELIVERIES:
                return await self._deliveries(before, limit)
            case Kind.NOTIFICATIONS:
                # Spelled as in the partial index, which a parameter would not match.
                bare = notifications.c.deliveries == literal_column("'[]'")
                return await self._older(
                    notifications, notifications.c.accepted_at, before, limit, bare
                )
            case Kind.SUBMISSIONS:
                named = await self._older(provider_messages, provider_messages.c.at, before, limit)
                return named + await self._older(submissions, submissions.c.at, before, limit)
            case Kind.CHALLENGES:
                return await self._older(challenges, challenges.c.at, before, limit)
            case Kind.PARKED:
                return await self._older(parked, parked.c.parked_at, before, limit)
            case Kind.CLIENTS:
                return await self._clients(before, limit)
            case _:
                assert_never(kind)

    async def _deliveries(self, before: datetime, limit: int) -> int:
        """Remove settled deliveries whose effects are published, and notifications that have no
        delivery left because of that.
        """
        gone = await self._remove(
            deliveries,
            [deliveries.c.order, deliveries.c.sender, deliveries.c.notification],
            and_(deliveries.c.deadline.is_(None), deliveries.c.settled_at < before),
            deliveries.c.settled_at,
            limit,
        )
        if gone:
            await self._left_alone({(sender, notification) for _, sender, notification in gone})
        return len(gone)

    async def _left_alone(self, notified: set[tuple[str, str]]) -> None:
        """Remove those of ``notified`` that have no delivery left."""
        bulk = BulkRows(self._sql, [notifications.c.sender, notifications.c.id])
        parameters = bulk.bind(sorted(notified))
        # The lock makes two rounds that remove the last two deliveries see each other's work.
        await self._run(
            select(notifications.c.id)
            .join(bulk.rows, bulk.match)
            .order_by(notifications.c.sender, notifications.c.id)
            .with_for_update(of=notifications),
            parameters,
        )
        left = exists().where(
            deliveries.c.sender == notifications.c.sender,
            deliveries.c.notification == notifications.c.id,
        )
        await self._run(delete(notifications).where(exists().where(bulk.match), ~left), parameters)

    async def _clients(self, retired_before: datetime, limit: int) -> int:
        """Remove retired clients, and everything that belongs to them."""
        unneeded = and_(
            clients.c.retired_at.is_not(None),
            clients.c.retired_at < retired_before,
            clients.c.unpublished_since.is_(None),
            # By client, in the partial indexes deliveries_open and deliveries_unpublished.
            ~exists().where(deliveries.c.client == clients.c.id, deliveries.c.settled_at.is_(None)),
            ~exists().where(
                deliveries.c.client == clients.c.id,
                deliveries.c.settled_at.is_not(None),
                deliveries.c.deadline.is_not(None),
            ),
        )
        # Locked first and looked at again: a delivery may have been corrected in between.
        found = await self._run(
            select(clients.c.id)
            .where(unneeded)
            .order_by(clients.c.retired_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        locked = [id_ for (id_,) in found]
        if not locked:
            return 0
        bulk = BulkRows(self._sql, [clients.c.id])
        rows = await self._run(
            delete(clients)
            .where(clients.c.id.in_(select(bulk.rows.c.id)), unneeded)
            .returning(clients.c.id),
            bulk.bind((id_,) for id_ in locked),
        )
        return len(rows.all())

    async def _older(
        self,
        table: Table,
        age: Column[datetime],
        before: datetime,
        limit: int,
        *conditions: ColumnElement[bool],
    ) -> int:
        """Remove the oldest rows from before that time that fulfil the conditions."""
        condition = and_(age < before, *conditions)
        return len(await self._remove(table, list(table.primary_key), condition, age, limit))

    async def _remove(
        self,
        table: Table,
        columns: Sequence[Column[Any]],
        condition: ColumnElement[bool],
        age: Column[Any],
        limit: int,
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Remove the oldest rows that fulfil the condition, except those that others have locked.

        Returns ``columns``, the primary key among them, of what was removed. Two statements: a plan
        may run a subquery more than once, and each run would lock other rows.
        """
        found = await self._run(
            select(*columns)
            .where(condition)
            .order_by(age)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if locked := found.all():
            places = [place for place, column in enumerate(columns) if column.primary_key]
            keys = [columns[place] for place in places]
            bulk = BulkRows(self._sql, keys)
            await self._run(
                delete(table).where(exists().where(bulk.match)),
                bulk.bind([row[place] for place in places] for row in locked),
            )
        return locked
