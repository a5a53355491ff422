"""The mapping of records to tables, and the statements that every kind of record needs.

Columns have the names of the record's fields, so a row *is* the record's arguments. Statements are
made once for each database; only their rows change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import sqlalchemy
from sqlalchemy import Column, Delete, Select, Table, Update, and_, exists, select, update

from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.channels import Channel, Proof
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.losses import Loss
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.notifications import Notification
from aoi_events.domain.parked import ParkedMessage
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.ports.store import Lock, ProviderMessage, Submission
from aoi_events.store import tables
from aoi_events.store.bulk_rows import BulkRows, Sql, insert_into

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

R = TypeVar("R")
S = TypeVar("S", bound="Select[Any] | Delete | Update | postgresql.Insert | sqlite.Insert")


@dataclass(frozen=True, eq=False)
class RecordMapping(Generic[R]):
    """The mapping of ``record`` to ``table``, one row for each value of ``keys``.

    ``derived`` are properties of the record that queries need as columns; ``assigned`` are columns
    that the database fills; ``fixed`` never change after the insert.
    """

    table: Table
    record: type[R]
    keys: tuple[str, ...]
    derived: tuple[str, ...] = ()
    assigned: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns of the record's fields, in their order."""
        return tuple(self.table.c[field.name] for field in fields(self.record))  # type: ignore[arg-type]

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The names of the columns that an insert fills."""
        names = (column.name for column in self.columns if column.name not in self.assigned)
        return (*names, *self.derived)

    def rows(self, records: Iterable[R], names: tuple[str, ...]) -> Sequence[tuple[Any, ...]]:
        """The values of ``names``, in key order; of several records with one key, those of the
        last.
        """
        key, values = attrgetter(*self.keys), attrgetter(*names)
        latest = {key(record): record for record in records}
        return [values(latest[k]) for k in sorted(latest)]

    def read(self, rows: Iterable[Any]) -> list[R]:
        """The records of ``rows`` (of :attr:`columns`)."""
        record = self.record
        return [record(*row) for row in rows]


@dataclass(frozen=True)
class Statement(Generic[S]):
    """A statement and the rows that it takes as parameters."""

    sql: S
    bulk: BulkRows


@cache
def insert(sql: Sql, mapping: RecordMapping[Any]) -> Statement[Any]:
    """Insert rows of :attr:`RecordMapping.written` in their order."""
    bulk = BulkRows(sql, [mapping.table.c[name] for name in mapping.written])
    values = select(*(bulk.rows.c[name] for name in mapping.written)).order_by(bulk.n)
    return Statement(insert_into(sql, mapping.table).from_select(mapping.written, values), bulk)


@cache
def insert_new(sql: Sql, mapping: RecordMapping[Any]) -> Statement[Any]:
    """Insert rows whose key is new; returns the keys of these."""
    statement = insert(sql, mapping)
    keys = [mapping.table.c[name] for name in mapping.keys]
    ignoring = statement.sql.on_conflict_do_nothing(index_elements=keys).returning(*keys)
    return Statement(ignoring, statement.bulk)


@cache
def replace(sql: Sql, mapping: RecordMapping[Any]) -> Statement[Any]:
    """Insert rows, or replace those with the same key."""
    statement = insert(sql, mapping)
    excluded = statement.sql.excluded
    changing = {name: excluded[name] for name in mapping.written if name not in mapping.keys}
    keys = [mapping.table.c[name] for name in mapping.keys]
    return Statement(
        statement.sql.on_conflict_do_update(index_elements=keys, set_=changing), statement.bulk
    )


def changing(mapping: RecordMapping[Any]) -> tuple[str, ...]:
    """The names of the columns that change after the insert, keys first."""
    rest = (name for name in mapping.written if name not in (*mapping.keys, *mapping.fixed))
    return (*mapping.keys, *rest)


@cache
def change(sql: Sql, mapping: RecordMapping[Any], names: tuple[str, ...]) -> Statement[Update]:
    """Update the rows with these keys; ``names``: keys first, then what to set."""
    bulk = BulkRows(sql, [mapping.table.c[name] for name in names])
    values = {name: bulk.rows.c[name] for name in names if name not in mapping.keys}
    found = and_(*(mapping.table.c[name] == bulk.rows.c[name] for name in mapping.keys))
    return Statement(update(mapping.table).values(values).where(found), bulk)


@cache
def delete(sql: Sql, mapping: RecordMapping[Any]) -> Statement[Delete]:
    """Delete the rows with these keys."""
    bulk = BulkRows(sql, [mapping.table.c[name] for name in mapping.keys])
    return Statement(sqlalchemy.delete(mapping.table).where(exists().where(bulk.match)), bulk)


@cache
def find(
    sql: Sql,
    mapping: RecordMapping[Any],
    names: tuple[str, ...] | None = None,
    lock: Lock = Lock.NONE,
) -> Statement[Select[Any]]:
    """Select the rows with these values of ``names`` (by default the keys), in key order."""
    names = names or mapping.keys
    bulk = BulkRows(sql, [mapping.table.c[name] for name in names])
    found = select(*mapping.columns).join(bulk.rows, bulk.match)
    found = found.order_by(*(mapping.table.c[name] for name in mapping.keys))
    if lock is not Lock.NONE:
        found = found.with_for_update(read=lock is Lock.SHARED, of=mapping.table)
    return Statement(found, bulk)


CLIENTS: Final = RecordMapping(tables.clients, Client, ("id",))
APPLICATIONS: Final = RecordMapping(
    tables.applications, Application, ("client", "app_key"), derived=("app_key",)
)
CHANNELS: Final = RecordMapping(tables.channels, Channel, ("client", "type"))
PROOFS: Final = RecordMapping(tables.proofs, Proof, ("client", "channel", "address"))
NOTIFICATIONS: Final = RecordMapping(tables.notifications, Notification, ("sender", "id"))
DELIVERIES: Final = RecordMapping(
    tables.deliveries,
    Delivery,
    ("id",),
    derived=("idle", "deferred", "awaits_provider"),
    assigned=("order",),
    fixed=(
        "sender",
        "notification",
        "client",
        "application",
        "instance",
        "fingerprint",
        "accepted_at",
        "expires_at",
        "storable",
        "topic",
    ),
)
HEALTH: Final = RecordMapping(tables.health, ProviderHealth, ("channel", "worker", "provider"))
LOSSES: Final = RecordMapping(tables.losses, Loss, ("client",))
PROVIDER_MESSAGES: Final = RecordMapping(
    tables.provider_messages,
    ProviderMessage,
    ("delivery", "step", "attempt", "part"),
    derived=("folded",),
)
SUBMISSIONS: Final = RecordMapping(tables.submissions, Submission, ("delivery", "step", "attempt"))
PARKED: Final = RecordMapping(tables.parked, ParkedMessage, ("id",))
