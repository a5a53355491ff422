"""Database engines: URLs, pools, and how each database begins a transaction."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final

import aiosqlite
from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from aoi_events.errors import ConfigurationError, naming
from aoi_events.store.bulk_rows import Sql

_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+asyncpg")
"""Schemes; the last one is what 0.1.0 wrote."""
_SQLITE: Final = ("sqlite", "sqlite+aiosqlite")
_THREAD_ENDS: Final = 10.0
"""Seconds that a driver's thread may take to end once its connection is closed."""
_WRONG_PATH: Final = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EROFS,
    errno.ELOOP,
)
"""Errors of a path where no database can be made."""
READ_ONLY: Final = "aoi_read_only"
"""Execution option of connections that will only read."""


@dataclass(frozen=True)
class Database:
    """An engine and its database; ``memory``: the database ends with its connection."""

    engine: AsyncEngine
    sql: Sql
    memory: bool = False
    threads: set[Thread] = field(default_factory=set)
    """In which SQLite's driver works, one for each connection."""
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def close(self) -> None:
        """Close all connections.

        The driver waits for its thread only where a connection was opened and closed in order: one
        that could not be opened would answer to an event loop that is gone.
        """
        await self.engine.dispose()
        for thread in self.threads:
            await asyncio.to_thread(thread.join, _THREAD_ENDS)

    def writer(self) -> AbstractAsyncContextManager[Any]:
        """The lock for writing: SQLite has one writer. Waiting for it here is fair and quick;
        SQLite's own busy handler would sleep.
        """
        return self._writing if self.sql is Sql.SQLITE else nullcontext()

    def connections(self) -> int:
        """The number of connections in use now."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, AsyncAdaptedQueuePool) else 0


def database_of(
    url: str,
    *,
    pool: int = 5,
    patience: float = 10.0,
    lock_within: float | None = None,
    create: bool = True,
) -> Database:
    """The database at ``url``; nothing is connected yet.

    ``create``: whether connecting makes a file of SQLite that is not there, for its owner only: it
    holds content and phone numbers. Else connecting raises ConfigurationError.

    At most ``pool`` connections are open; a statement, and the wait for a connection or a lock, may
    take ``patience`` seconds, that for a lock of PostgreSQL ``lock_within``, if it is set. Raises
    ConfigurationError.
    """
    if pool < 1 or patience <= 0:
        raise ConfigurationError("the store needs a pool of at least 1 and a patience above 0 s")
    scheme = url.partition(":")[0]
    with naming("AOI_STORE"):
        if scheme in _POSTGRESQL:
            from aoi_events.store.postgresql import postgresql_engine  # with its driver

            as_libpq_has_it = "postgresql" + url[len(scheme) :]
            engine = postgresql_engine(as_libpq_has_it, pool, patience, lock_within or patience)
            return Database(engine, Sql.POSTGRESQL)
        return _sqlite(_target(url), pool, patience, create=create)


def _target(url: str) -> URL:
    wanted = "use sqlite:///path or postgresql://user@host/database"
    try:
        target = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        # Not shown: what was meant as a URL may hold a password.
        raise ConfigurationError(f"the store's URL cannot be read; {wanted}") from None
    if target.drivername not in _SQLITE:
        raise ConfigurationError(f"the store cannot be {target.drivername!r}; {wanted}")
    return target.set(drivername="sqlite+aiosqlite")


def _sqlite(target: URL, pool: int, patience: float, *, create: bool) -> Database:
    memory = target.database in (None, "", ":memory:")
    path = target.database or ""
    if target.host or target.query or path.startswith("file:") or "\0" in path:
        raise ConfigurationError(
            "the store's URL for SQLite must be sqlite:///PATH (three slashes, and four before an "
            "absolute path), without options, NUL and file:"
        )
    engine = create_async_engine(
        target,
        hide_parameters=True,  # they hold tokens' content, and errors are logged
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if memory else pool,
        max_overflow=0,
        pool_timeout=patience,
        connect_args={"timeout": patience},  # for the lock of another process
    )

    threads: set[Thread] = set()

    def opened(*arguments: Any, **options: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*arguments, **options)
        thread = connection._thread
        thread.daemon = True
        threads.difference_update([each for each in threads if each.ident and not each.is_alive()])
        threads.add(thread)
        return connection

    @event.listens_for(engine.sync_engine, "do_connect")
    def _connecting(
        dialect: object, record: object, arguments: object, options: dict[str, Any]
    ) -> None:
        if not memory:
            _find(Path(path), create=create)
        options["async_creator_fn"] = opened

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, record: object) -> None:
        # The driver begins nothing by itself; _begin does.
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(
                    f"AOI_STORE: {target.database} is not a database of SQLite; move it away, or "
                    "name another file"
                ) from None
            # Another process is switching the file now, for which SQLite does not wait; it stays
            # switched, and this connection will see that.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        cursor.execute("PRAGMA synchronous = FULL")  # what was committed survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(READ_ONLY, False)
        if connection.info.get(READ_ONLY, False) is not read_only:
            connection.exec_driver_sql(f"PRAGMA query_only = {int(read_only)}")
            connection.info[READ_ONLY] = read_only
        # A transaction that began by reading could not always go on to write.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return Database(engine, Sql.SQLITE, memory, threads)


def _find(file: Path, *, create: bool) -> None:
    """Check that the file exists and is regular: an empty file is an empty database."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigurationError(
                f"AOI_STORE: {file.absolute()} is no regular file; name another"
            )
    except FileNotFoundError:
        if not file.parent.is_dir():
            raise ConfigurationError(
                f"AOI_STORE: there is no folder {file.parent.absolute()}; make it, or name another"
            ) from None
        if not create:
            raise ConfigurationError(
                f"there is no database {file.absolute()}; AOI_STORE says where it is, and to make "
                "a new one run `aoi db upgrade` first"
            ) from None
        _make(file)
    except OSError as error:
        _refuse(file, error)


def _make(file: Path) -> None:
    try:
        # What SQLite puts beside it gets its mode.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        _refuse(file, error)


def _refuse(file: Path, error: OSError) -> None:
    """Raise ConfigurationError for a path where no database can be."""
    # For other reasons SQLite says why, and the caller tries again.
    if error.errno in _WRONG_PATH:
        raise ConfigurationError(
            f"AOI_STORE: cannot use {file.absolute()}: {error.strerror}"
        ) from None
