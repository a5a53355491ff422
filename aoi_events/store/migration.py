"""Migrations: bring a database to the schema of this version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.store.bulk_rows import Sql
from aoi_events.store.engine import Database, database_of
from aoi_events.store.faults import translated
from aoi_events.store.schema import MIGRATIONS, known_revisions, obstacle_of, revision_of
from aoi_events.store.upgrade_locks import blocking, named, upgrading

_ALEMBIC: Final = threading.Lock()
_LOOK_AGAIN: Final = 0.05
_STATEMENT: Final = 3600.0
"""Seconds that a statement may take: an index on a large table takes as long as it takes."""
_LOCK: Final = 3.0
"""Seconds that a statement waits for a lock; who wants to read that table waits behind it."""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_CANCELED: Final = "57014"
_ATTEMPTS: Final = RetryPolicy(attempts=5, first=1.0, most=8.0)

Tell = Callable[[str], None]
"""Is called with a sentence about each step of an upgrade."""


class _Locked(Exception):
    """A session holds a lock that the upgrade needs."""


async def upgrade(
    url: str, *, tell: Tell = lambda _: None, attempts: RetryPolicy = _ATTEMPTS
) -> None:
    """Bring the database at ``url`` to the schema of this version; the data stays.

    Safe to run by several at once: one works, the others wait and find it done. On PostgreSQL
    readers and writers wait for it for three seconds at most, then it lets them pass and tries
    again, a few times. Raises StoreUnavailable, which names the session that is in the way, and
    ConfigurationError when the database is newer than this version.
    """
    # Of the connections one works, one has the lock of the upgrade, one looks what is in the way.
    database = database_of(url, pool=3, patience=_STATEMENT, lock_within=_LOCK)
    try:
        if database.sql is Sql.POSTGRESQL:
            await _upgrade_postgresql(database, tell, attempts)
        else:
            await migrate(database, tell=tell)
    finally:
        await database.close()


async def migrate(database: Database, *, tell: Tell = lambda _: None) -> None:
    """:func:`upgrade` of SQLite with an existing engine, in one transaction."""
    with translated():
        async with _alone(), database.writer(), database.engine.begin() as connection:
            await connection.run_sync(_upgrade, tell)


async def _upgrade_postgresql(database: Database, tell: Tell, attempts: RetryPolicy) -> None:
    """Each migration in a transaction, except an index that is built beside running workers."""

    async def attempt() -> None:
        async with (
            database.engine.connect() as connection,
            blocking(database.engine, connection, _LOCK * 2) as sessions,
        ):
            try:
                await connection.run_sync(_upgrade, tell)
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if state != _LOCK_NOT_AVAILABLE and not (state == _CANCELED and sessions):
                    raise
                raise _Locked(f"{named(sessions)} holds a lock that it needs") from error
            except PendingRollbackError as error:  # Alembic goes on where an index was built
                raise StoreUnavailable(
                    "the upgrade lost its connection to the store; run `aoi db upgrade` again"
                ) from error

    def failed(attempt: FailedAttempt) -> None:
        tell(f"the upgrade waits: {attempt.error}; it tries again in {attempt.pause:.0f} s")

    try:
        with translated():
            async with _alone(), upgrading(database.engine, tell):
                await retry(attempt, policy=attempts, on=_Locked, failed=failed)
    except _Locked as locked:
        raise StoreUnavailable(
            f"the schema was not upgraded: {locked}; end that transaction and run "
            "`aoi db upgrade` again"
        ) from locked


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


def _upgrade(connection: Connection, tell: Tell) -> None:
    found, known = revision_of(connection), known_revisions()
    if found == known[0]:
        return
    if found is not None and found not in known:
        raise ConfigurationError(obstacle_of(found, known))
    tell(f"upgrading the schema from {found or 'nothing'} to {known[0]}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["applied"] = lambda *, step, **_: tell(
        f"{step.up_revision_id} is there: {step.up_revision.doc}"
    )
    if connection.dialect.name != Sql.SQLITE:
        connection.commit()  # of what was read; Alembic begins its own transactions
    command.upgrade(config, "head")
