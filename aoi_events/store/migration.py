"""Migrations: bring a database to the schema of this version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.errors import ConfigurationError
from aoi_events.store.bulk_rows import Sql
from aoi_events.store.engine import Database, database_of
from aoi_events.store.faults import translated
from aoi_events.store.schema import MIGRATIONS, known_revisions, obstacle_of, revision_of

_MIGRATING = 0x616F6920_6D696772
"""Key of the advisory lock that only one upgrade holds (PostgreSQL)."""
_ALEMBIC: Final = threading.Lock()
_LOOK_AGAIN: Final = 0.05


async def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the schema of this version; the data stays.

    Safe to run by several at once: one works, the others wait and find it done. Raises
    StoreUnavailable, and ConfigurationError when the database is newer than this version.
    """
    # An index on a large table takes as long as it takes.
    database = database_of(url, pool=1, patience=3600.0)
    try:
        await migrate(database)
    finally:
        await database.close()


async def migrate(database: Database) -> None:
    """:func:`upgrade` with an existing engine: on SQLite in one transaction; on PostgreSQL each
    migration in one, except an index that is built beside running workers.
    """
    with translated():
        async with _alone(), database.writer(), database.engine.connect() as connection:
            one = _locked if database.sql is Sql.POSTGRESQL else AsyncConnection.begin
            async with one(connection):
                await connection.run_sync(_upgrade)


@asynccontextmanager
async def _locked(connection: AsyncConnection) -> AsyncIterator[None]:
    """Wait for the advisory lock between transactions: building an index waits for every statement
    that began before, and would never end if one of them waited for the lock.
    """
    while not await connection.scalar(text(f"SELECT pg_try_advisory_lock({_MIGRATING})")):
        await connection.rollback()
        await asyncio.sleep(_LOOK_AGAIN)
    await connection.commit()
    try:
        yield
    except BaseException:
        await connection.invalidate()  # the lock ends with its connection
        raise
    await connection.execute(text(f"SELECT pg_advisory_unlock({_MIGRATING})"))
    await connection.commit()


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Allow one migration at a time in this process: Alembic stores the connection of the one that
    runs in a global, which all tasks and threads share.
    """
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - of several threads
        await asyncio.sleep(_LOOK_AGAIN)
    try:
        yield
    finally:
        _ALEMBIC.release()


def _upgrade(connection: Connection) -> None:
    found, known = revision_of(connection), known_revisions()
    if found == known[0]:
        return
    if found is not None and found not in known:
        raise ConfigurationError(obstacle_of(found, known))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if connection.dialect.name != Sql.SQLITE:
        connection.commit()  # of what was read; Alembic begins its own transactions
    command.upgrade(config, "head")
