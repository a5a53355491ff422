"""Retention: removing what nobody needs any more, a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

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

from aoi_events.ports.store import Retention
from aoi_events.store.given import Given
from aoi_events.store.queries import Queries
from aoi_events.store.tables import (
    challenges,
    clients,
    deliveries,
    notifications,
    parked,
    submissions,
)

__all__ = ["RetentionQueries"]


class RetentionQueries(Queries):
    """The port's section "retention"."""

    async def retain(self, *, settled_before: datetime, limit: int) -> Retention:
        """Remove at most ``limit`` rows of each kind that nobody needs any more.

        A notification goes with the last of its deliveries. Challenges, which are counted for an
        hour, go with the submissions of their age: ``settled_before`` lies further back.
        """
        removed, notified = await self._deliveries(settled_before, limit)
        await self._older(challenges, challenges.c.at, settled_before, limit)
        return Retention(
            notifications=await self._notifications(notified, settled_before, limit),
            deliveries=removed,
            submissions=await self._older(submissions, submissions.c.at, settled_before, limit),
            parked=await self._older(parked, parked.c.parked_at, settled_before, limit),
            clients=await self._clients(settled_before, limit),
        )

    async def _deliveries(self, before: datetime, limit: int) -> tuple[int, set[tuple[str, str]]]:
        """Remove settled deliveries whose effects have left; the notifications they were of."""
        gone = await self._remove(
            deliveries,
            [deliveries.c.order, deliveries.c.sender, deliveries.c.notification],
            and_(deliveries.c.deadline.is_(None), deliveries.c.settled_at < before),
            deliveries.c.settled_at,
            limit,
        )
        return len(gone), {(sender, notification) for _, sender, notification in gone}

    async def _notifications(
        self, notified: set[tuple[str, str]], before: datetime, limit: int
    ) -> int:
        """Remove those of ``notified`` that have no delivery left, and old ones that had none."""
        removed = await self._left_alone(notified) if notified else 0
        # Spelled as in the partial index, which a parameter would not match.
        bare = notifications.c.deliveries == literal_column("'[]'")
        age = notifications.c.accepted_at
        old = await self._remove(
            notifications,
            list(notifications.primary_key),
            and_(bare, age < before),
            age,
            limit - removed,
        )
        return removed + len(old)

    async def _left_alone(self, notified: set[tuple[str, str]]) -> int:
        """Remove those of ``notified`` that have no delivery left."""
        given = Given(self._sql, [notifications.c.sender, notifications.c.id])
        parameters = given.bind(sorted(notified))
        same = and_(
            given.rows.c.sender == notifications.c.sender, given.rows.c.id == notifications.c.id
        )
        # The lock makes two rounds that remove the last two deliveries see each other's work.
        await self._run(
            select(notifications.c.id)
            .join(given.rows, same)
            .order_by(notifications.c.sender, notifications.c.id)
            .with_for_update(of=notifications),
            parameters,
        )
        left = exists().where(
            deliveries.c.sender == notifications.c.sender,
            deliveries.c.notification == notifications.c.id,
        )
        rows = await self._run(
            delete(notifications).where(exists().where(same), ~left).returning(notifications.c.id),
            parameters,
        )
        return len(rows.all())

    async def _clients(self, retired_before: datetime, limit: int) -> int:
        """Remove clients that were retired, and whatever belongs to them."""
        unneeded = and_(
            clients.c.retired_at.is_not(None),
            clients.c.retired_at < retired_before,
            clients.c.untold_since.is_(None),
            ~exists().where(deliveries.c.client == clients.c.id, deliveries.c.settled_at.is_(None)),
            ~exists().where(
                deliveries.c.client == clients.c.id, deliveries.c.deadline.is_not(None)
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
        given = Given(self._sql, [clients.c.id])
        rows = await self._run(
            delete(clients)
            .where(clients.c.id.in_(select(given.rows.c.id)), unneeded)
            .returning(clients.c.id),
            given.bind((id_,) for id_ in locked),
        )
        return len(rows.all())

    async def _older(
        self, table: Table, age: Column[datetime], before: datetime, limit: int
    ) -> int:
        """Remove the oldest rows of before that time."""
        return len(await self._remove(table, list(table.primary_key), age < before, age, limit))

    async def _remove(
        self,
        table: Table,
        columns: Sequence[Column[Any]],
        condition: ColumnElement[bool],
        age: Column[Any],
        limit: int,
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Remove the oldest rows that fulfil the condition, except those that others hold.

        Returns ``columns``, the primary key among them, of what was removed. Two statements: a
        plan may run a subquery more than once, and each run would lock other rows.
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
            given = Given(self._sql, keys)
            same = and_(*(key == given.rows.c[key.name] for key in keys))
            await self._run(
                delete(table).where(exists().where(same)),
                given.bind([row[place] for place in places] for row in locked),
            )
        return locked
