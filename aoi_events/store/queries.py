"""The base of all groups of queries: a connection, and how statements receive their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Executable, Result, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.ports.store import Lock
from aoi_events.store import records
from aoi_events.store.bulk_rows import BulkRows, Sql
from aoi_events.store.faults import translated
from aoi_events.store.records import RecordMapping, Statement
from aoi_events.store.run_to_completion import run_to_completion

R = TypeVar("R")


class Queries:
    """Base of the groups of queries; one object per transaction."""

    def __init__(self, connection: AsyncConnection, sql: Sql) -> None:
        self._connection = connection
        self._sql = sql

    async def _run(self, statement: Executable, parameters: Any = None) -> Result[*tuple[Any, ...]]:
        with translated():
            running = self._connection.execute(statement, parameters)
            return await (run_to_completion(running) if self._sql is Sql.SQLITE else running)

    async def _run_with_rows(
        self, statement: Statement[Any], rows: Iterable[Sequence[Any]]
    ) -> Result[*tuple[Any, ...]]:
        return await self._run(statement.sql, statement.bulk.bind(rows))

    async def _find(
        self,
        mapping: RecordMapping[R],
        values: Collection[Any],
        names: tuple[str, ...] | None = None,
        lock: Lock = Lock.NONE,
    ) -> list[R]:
        """The records with these values of ``names`` (by default the keys), in key order."""
        if not values:
            return []
        rows = {value if isinstance(value, tuple) else (value,) for value in values}
        found = await self._run_with_rows(
            records.find(self._sql, mapping, names, lock), sorted(rows)
        )
        return mapping.read(found)

    async def _replace(self, mapping: RecordMapping[R], records_: Collection[R]) -> None:
        if records_:
            rows = mapping.rows(records_, mapping.written)
            await self._run_with_rows(records.replace(self._sql, mapping), rows)

    async def _insert_new(
        self, mapping: RecordMapping[R], records_: Collection[R]
    ) -> Sequence[Any]:
        """Insert the records with new keys; returns these keys."""
        if not records_:
            return ()
        rows = mapping.rows(records_, mapping.written)
        return (await self._run_with_rows(records.insert_new(self._sql, mapping), rows)).all()

    async def _delete(self, mapping: RecordMapping[Any], keys: Collection[Any]) -> None:
        """Delete the records with these keys."""
        if keys:
            await self._run_with_rows(records.delete(self._sql, mapping), sorted(keys))

    async def _count_by(
        self, column: Column[str], values: Collection[str], *conditions: ColumnElement[bool]
    ) -> dict[str, int]:
        """The number of rows that fulfil the conditions, by these values of ``column``; values
        without any are absent.
        """
        if not values:
            return {}
        bulk = BulkRows(self._sql, [column])
        counted = select(column, func.count()).join(bulk.rows, bulk.match).group_by(column)
        rows = bulk.bind((value,) for value in sorted(set(values)))
        return dict((await self._run(counted.where(*conditions), rows)).all())

    async def _lock(self, table: Table, bulk: BulkRows, parameters: Any) -> None:
        """Lock rows by ID, in key order, before an UPDATE, which takes its rows in any order."""
        await self._run(
            select(table.c.id)
            .join(bulk.rows, bulk.rows.c.id == table.c.id)
            .order_by(table.c.id)
            .with_for_update(of=table),
            parameters,
        )
