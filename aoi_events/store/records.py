"""Which record stands in which table, and the statements that every kind of record needs.

Columns are named as the record's fields, so a row *is* the record's arguments. Statements are made
once for each database and then only given their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, FromClause, Select, Table, Update, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.channels import Channel, Proof
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.losses import Loss
from aoi_events.domain.delivery.machine import Delivery
from aoi_events.domain.notifications import Notification
from aoi_events.domain.parked import ParkedMessage
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.ports.store import Lock, ProviderMessage, Submission
from aoi_events.store import tables
from aoi_events.store.bulk_rows import Given, Sql, insert_into

__all__ = [
    "APPLICATIONS",
    "CHANNELS",
    "CLIENTS",
    "DELIVERIES",
    "LOSSES",
    "NOTIFICATIONS",
    "PARKED",
    "PROOFS",
    "PROVIDER_MESSAGES",
    "SUBMISSIONS",
    "Kept",
    "Statement",
]

R = TypeVar("R")
S = TypeVar("S", bound="Select[Any] | Update | postgresql.Insert | sqlite.Insert")


@dataclass(frozen=True, eq=False)
class Kept(Generic[R]):
    """``record`` is kept in ``table``, one row for each value of ``keys``.

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
        """The columns that make the record, in the order of its fields."""
        return tuple(self.table.c[field.name] for field in fields(self.record))  # type: ignore[arg-type]

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The names of the columns that an insert fills."""
        names = (column.name for column in self.columns if column.name not in self.assigned)
        return (*names, *self.derived)

    @cached_property
    def values(self) -> Callable[[R], tuple[Any, ...]]:
        """What an insert writes of a record."""
        return attrgetter(*self.written)

    def rows(self, records: Iterable[R], names: tuple[str, ...]) -> Sequence[tuple[Any, ...]]:
        """The values of ``names``; of several records with one key, the last, in key order."""
        key, values = attrgetter(*self.keys), attrgetter(*names)
        latest = {key(record): record for record in records}
        return [values(latest[k]) for k in sorted(latest)]

    def read(self, rows: Iterable[Any]) -> list[R]:
        """The records that stand in ``rows`` (of :attr:`columns`)."""
        record = self.record
        return [record(*row) for row in rows]


@dataclass(frozen=True)
class Statement(Generic[S]):
    """A statement and the rows that it wants to be given."""

    sql: S
    given: Given


def _match(table: Table, given: FromClause, names: Iterable[str]) -> Any:
    return and_(*(table.c[name] == given.c[name] for name in names))


@cache
def insert(sql: Sql, kept: Kept[Any]) -> Statement[Any]:
    """Insert rows of :attr:`Kept.written` in the order given."""
    given = Given(sql, [kept.table.c[name] for name in kept.written])
    values = select(*(given.rows.c[name] for name in kept.written)).order_by(given.n)
    return Statement(insert_into(sql, kept.table).from_select(kept.written, values), given)


@cache
def insert_new(sql: Sql, kept: Kept[Any]) -> Statement[Any]:
    """Insert rows whose key is new; returns the keys of these."""
    statement = insert(sql, kept)
    keys = [kept.table.c[name] for name in kept.keys]
    ignoring = statement.sql.on_conflict_do_nothing(index_elements=keys).returning(*keys)
    return Statement(ignoring, statement.given)


@cache
def replace(sql: Sql, kept: Kept[Any]) -> Statement[Any]:
    """Insert rows, or replace those with the same key."""
    statement = insert(sql, kept)
    excluded = statement.sql.excluded
    changing = {name: excluded[name] for name in kept.written if name not in kept.keys}
    keys = [kept.table.c[name] for name in kept.keys]
    return Statement(
        statement.sql.on_conflict_do_update(index_elements=keys, set_=changing), statement.given
    )


def changing(kept: Kept[Any]) -> tuple[str, ...]:
    """The names of the columns that :func:`change` is given."""
    rest = (name for name in kept.written if name not in (*kept.keys, *kept.fixed))
    return (*kept.keys, *rest)


@cache
def change(sql: Sql, kept: Kept[Any], names: tuple[str, ...] | None = None) -> Statement[Update]:
    """Update the rows with these keys; ``names``: keys first, then what to set."""
    names = names or changing(kept)
    given = Given(sql, [kept.table.c[name] for name in names])
    values = {name: given.rows.c[name] for name in names if name not in kept.keys}
    found = _match(kept.table, given.rows, kept.keys)
    return Statement(update(kept.table).values(values).where(found), given)


@cache
def find(
    sql: Sql, kept: Kept[Any], names: tuple[str, ...] | None = None, lock: Lock = Lock.NONE
) -> Statement[Select[Any]]:
    """Select the rows that have the given values of ``names`` (else of the keys), in key order."""
    names = names or kept.keys
    given = Given(sql, [kept.table.c[name] for name in names])
    found = select(*kept.columns).join(given.rows, _match(kept.table, given.rows, names))
    found = found.order_by(*(kept.table.c[name] for name in kept.keys))
    if lock is not Lock.NONE:
        found = found.with_for_update(read=lock is Lock.SHARED, of=kept.table)
    return Statement(found, given)


CLIENTS: Final = Kept(tables.clients, Client, ("id",))
APPLICATIONS: Final = Kept(
    tables.applications, Application, ("client", "app_key"), derived=("app_key",)
)
CHANNELS: Final = Kept(tables.channels, Channel, ("client", "type"))
PROOFS: Final = Kept(tables.proofs, Proof, ("client", "channel", "address"))
NOTIFICATIONS: Final = Kept(tables.notifications, Notification, ("sender", "id"))
DELIVERIES: Final = Kept(
    tables.deliveries,
    Delivery,
    ("id",),
    derived=("resting", "put_off", "held_back"),
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
HEALTH: Final = Kept(tables.health, ProviderHealth, ("channel", "worker", "provider"))
LOSSES: Final = Kept(tables.losses, Loss, ("client",))
PROVIDER_MESSAGES: Final = Kept(
    tables.provider_messages, ProviderMessage, ("delivery", "step", "attempt", "part")
)
SUBMISSIONS: Final = Kept(tables.submissions, Submission, ("delivery", "step", "attempt"))
PARKED: Final = Kept(tables.parked, ParkedMessage, ("id",))
