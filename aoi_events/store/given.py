"""Rows that a statement takes as its parameters, however many: where the two dialects differ.

PostgreSQL expands one array per column (``unnest``), SQLite one JSON text (``json_each``). Either
way a batch is one statement with one plan, and ``n`` is each row's place in the batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Dialect, FromClause, bindparam, func, select, text
from sqlalchemy import column as column_of
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY

__all__ = ["Given", "Sql", "insert_into"]


class Sql(StrEnum):
    """Which database answers; the values are SQLAlchemy's names."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


_SQLITE: Final[Dialect] = sqlite.dialect()


class Given:
    """Rows with the names and types of ``columns``; a statement selects from ``rows``."""

    def __init__(self, sql: Sql, columns: Sequence[Column[Any]]) -> None:
        self._sql = sql
        self._names = [f"given_{column.name}" for column in columns]
        self.rows: FromClause
        if sql is Sql.POSTGRESQL:
            arrays = (
                # One dimension: a value may itself be a tuple, and is then packed whole.
                bindparam(name, type_=ARRAY(column.type, dimensions=1))
                for name, column in zip(self._names, columns, strict=True)
            )
            self.rows = (
                func.unnest(*arrays)
                .table_valued(
                    *(column_of(column.name, column.type) for column in columns),
                    with_ordinality="n",
                )
                .render_derived(name="given")
            )
        else:
            each = func.json_each(bindparam("given")).table_valued("key", "value", name="each")
            values = (
                func.json_extract(each.c.value, text(f"'$[{index}]'"), type_=column.type).label(
                    column.name
                )
                for index, column in enumerate(columns)
            )
            self.rows = select(*values, each.c.key.label("n")).subquery("given")
            self._binders = [column.type.bind_processor(_SQLITE) for column in columns]

    @property
    def n(self) -> ColumnElement[int]:
        """The place of a row in the batch."""
        return self.rows.c.n

    def bind(self, rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """The parameters that stand for ``rows``, each with a value per column."""
        if self._sql is Sql.POSTGRESQL:
            values = list(zip(*rows, strict=True)) or [()] * len(self._names)
            return dict(zip(self._names, map(list, values), strict=True))
        packed = [
            [
                value if bind is None else bind(value)
                for value, bind in zip(row, self._binders, strict=True)
            ]
            for row in rows
        ]
        return {"given": json.dumps(packed, separators=(",", ":"))}


def insert_into(sql: Sql, table: Any) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT."""
    return postgresql.insert(table) if sql is Sql.POSTGRESQL else sqlite.insert(table)
