"""Rows as the parameters of a statement, however many: the place where the two dialects differ.

PostgreSQL expands one array per column (``unnest``), SQLite one JSON text (``json_each``). Either
way a batch is one statement with one plan, and ``n`` is each row's place in the batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Dialect,
    FromClause,
    and_,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy import column as column_of
from sqlalchemy.types import TypeEngine

from aoi_events.store.types import Converted

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


class Sql(StrEnum):
    """The kind of database; the values are SQLAlchemy's names."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class BulkRows:
    """Rows with the names and types of ``columns``; a statement selects from ``rows``."""

    def __init__(self, sql: Sql, columns: Sequence[Column[Any]]) -> None:
        self._sql = sql
        self._columns = columns
        self._names = [f"bulk_{column.name}" for column in columns]
        self.rows: FromClause
        if sql is Sql.POSTGRESQL:
            arrays = (
                bindparam(name, type_=ARRAY(_plain(column.type), dimensions=1))
                for name, column in zip(self._names, columns, strict=True)
            )
            self.rows = (
                func.unnest(*arrays)
                .table_valued(
                    *(column_of(column.name, column.type) for column in columns),
                    with_ordinality="n",
                )
                .render_derived(name="bulk")
            )
        else:
            each = func.json_each(bindparam("bulk")).table_valued("key", "value", name="each")
            values = (
                func.json_extract(each.c.value, text(f"'$[{index}]'"), type_=column.type).label(
                    column.name
                )
                for index, column in enumerate(columns)
            )
            self.rows = select(*values, each.c.key.label("n")).subquery("bulk")

    @property
    def n(self) -> ColumnElement[int]:
        """The position of a row in the batch."""
        return self.rows.c.n

    @property
    def match(self) -> ColumnElement[bool]:
        """Whether a row of the columns' table has the values of a row here."""
        return and_(*(column == self.rows.c[column.name] for column in self._columns))

    def bind(self, rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """The parameters for ``rows``, each with a value per column."""
        columns = list(zip(*rows, strict=True)) or [()] * len(self._names)
        written = [
            kind.write_all(values) if isinstance(kind := column.type, Converted) else list(values)
            for column, values in zip(self._columns, columns, strict=True)
        ]
        if self._sql is Sql.POSTGRESQL:
            return dict(zip(self._names, written, strict=True))
        packed = list(zip(*written, strict=True))
        return {"bulk": json.dumps(packed, separators=(",", ":"))}


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The database type of values that are converted already."""
    return type_.load_dialect_impl(_postgresql()) if isinstance(type_, Converted) else type_


@cache
def _postgresql() -> Dialect:
    from sqlalchemy.dialects import postgresql

    dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return dialect


def insert_into(sql: Sql, table: Any) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that supports ON CONFLICT."""
    # A dialect takes as long to load as the driver: only that of this database is.
    if sql is Sql.POSTGRESQL:
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
