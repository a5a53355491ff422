"""What every group of queries has: a connection, and the ways to give statements their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Executable, Result
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.ports.store import Lock
from aoi_events.store import records
from aoi_events.store.bulk_rows import Sql
from aoi_events.store.faults import translated
from aoi_events.store.records import Kept, Statement
from aoi_events.store.run_to_completion import to_its_end

__all__ = ["Queries"]

R = TypeVar("R")


class Queries:
    """Base of the groups of queries; one object per transaction."""

    def __init__(self, connection: AsyncConnection, sql: Sql) -> None:
        self._connection = connection
        self._sql = sql

    async def _run(self, statement: Executable, parameters: Any = None) -> Result[*tuple[Any, ...]]:
        with translated():
            running = self._connection.execute(statement, parameters)
            return await (to_its_end(running) if self._sql is Sql.SQLITE else running)

    async def _give(
        self, statement: Statement[Any], rows: Iterable[Sequence[Any]]
    ) -> Result[*tuple[Any, ...]]:
        return await self._run(statement.sql, statement.given.bind(rows))

    async def _find(
        self,
        kept: Kept[R],
        values: Collection[Any],
        names: tuple[str, ...] | None = None,
        lock: Lock = Lock.NONE,
    ) -> list[R]:
        """The records with these values of ``names`` (their keys), in key order."""
        if not values:
            return []
        rows = {value if isinstance(value, tuple) else (value,) for value in values}
        found = await self._give(records.find(self._sql, kept, names, lock), sorted(rows))
        return kept.read(found)

    async def _replace(self, kept: Kept[R], given: Collection[R]) -> None:
        if given:
            rows = kept.rows(given, kept.written)
            await self._give(records.replace(self._sql, kept), rows)

    async def _insert_new(self, kept: Kept[R], given: Collection[R]) -> Sequence[Any]:
        """Insert those with new keys; the keys of these."""
        if not given:
            return ()
        rows = kept.rows(given, kept.written)
        return (await self._give(records.insert_new(self._sql, kept), rows)).all()
