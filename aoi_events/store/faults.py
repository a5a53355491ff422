"""The database drivers' errors that mean "the database cannot do its part now".

Those become StoreUnavailable: the worker pauses and retries, until a person mends what does not
pass by itself (rights, a missing schema, a broken file). A login that the server refuses is a
ConfigurationError. Every other error (a broken constraint, a wrong statement) is a bug, and is
raised unchanged.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import exc

from aoi_events.errors import ConfigurationError, StoreUnavailable

READ_ONLY_TRANSACTION: Final = "25006"
"""The SQLSTATE of a write that a standby, or a server put into read-only mode, refuses."""

_SQLSTATES: Final = (
    "08",  # connection exceptions
    READ_ONLY_TRANSACTION,  # a standby, or a server that was put into read-only mode
    "25P03",  # idle in transaction for too long
    "25P04",  # transaction timeout
    "26000",  # the prepared statement went: a pooler between us gave us another connection
    "28",  # not let in: roles and passwords change while we run
    "3D",  # no such database (yet)
    "3F",  # no such schema (yet)
    "40",  # serialisation failures and deadlocks
    "42501",  # a right that was taken away, or not granted yet
    "42P01",  # no such table: dropped, or restored just now
    "42P05",  # the prepared statement is there already: that pooler again
    "53",  # out of connections, memory or disk
    "54",  # beyond a limit of the server; what we index is bounded far below those
    "55",  # lock not available, object in use, not in the state that it should be in
    "57",  # statement timeout, shutdown, crash, cannot connect now
    "58",  # I/O errors
    "72",  # snapshot too old
    "F0",  # its configuration
    "XX",  # internal errors, and damaged data
)

_SQLITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERNAL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_SCHEMA,
    }
)

_NO_TABLE: Final = "no such table"
"""SQLite has no code of its own for that."""

_LOGIN_REFUSED: Final = re.compile(
    "authentication failed|no password supplied|no pg_hba.conf entry|does not support SSL"
    '|(role|user|database) "[^"]*" does not exist|no such (user|database)|channel binding'
    "|certificate verify failed|does not match host name|authentication method requirement"
    "|invalid command-line argument|unrecognized configuration parameter"
    "|unsupported startup parameter|certificate file|private key file|valid client certificate"
    "|alert unknown ca"
)
"""The texts of PostgreSQL, PgBouncer and OpenSSL: libpq has no codes while it connects. In another
language than English they count as faults that pass.
"""


@contextmanager
def translated() -> Iterator[None]:
    """Turn faults of the database within the block into StoreUnavailable, and a refused login into
    ConfigurationError.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreUnavailable(
            "every connection to the store was busy for too long; see AOI_STORE_POOL"
        ) from error
    except exc.DBAPIError as error:
        if (reason := _fault(error)) is None:
            raise
        if _login_refused(error):
            raise ConfigurationError(
                f"the store refuses the login ({reason}); check user, password, database, TLS "
                "and options of AOI_STORE"
            ) from error
        # Without a statement it is the connection that could not be made.
        happened = "cannot be reached" if error.statement is None else "gave up"
        raise StoreUnavailable(f"the store {happened}: {reason}") from error
    except sqlite3.Error as error:
        # Raised unchanged by the first statements of a new connection.
        if not _of_sqlite(error):
            raise
        raise StoreUnavailable(f"the store gave up: {_reason(error)}") from error
    except _connecting_fails() as error:
        raise StoreUnavailable(f"the store cannot be reached: {_reason(error)}") from error


def _connecting_fails() -> tuple[type[Exception], ...]:
    """Those of PostgreSQL's driver are added once it is loaded, with the first engine for it."""
    postgresql = sys.modules.get("aoi_events.store.postgresql")
    fails: tuple[type[Exception], ...] = getattr(postgresql, "CONNECTING_FAILS", (OSError,))
    return fails


def _fault(error: exc.DBAPIError) -> str | None:
    """The reason if it is the database's fault; None if it is ours."""
    cause: BaseException | None = error.orig
    if isinstance(error, exc.OperationalError) and not isinstance(cause, sqlite3.Error):
        return _reason(error.orig or error)
    while cause is not None:
        state = getattr(cause, "sqlstate", None) or ""
        if isinstance(state, str) and state.startswith(_SQLSTATES):
            return _reason(cause)
        if isinstance(cause, OSError) or (isinstance(cause, sqlite3.Error) and _of_sqlite(cause)):
            return _reason(cause)
        if isinstance(error, exc.NotSupportedError) and "cached plan" in str(cause):
            return "the schema changed under a prepared statement"
        cause = cause.__cause__
    return "the connection was lost" if error.connection_invalidated else None


def _of_sqlite(error: sqlite3.Error) -> bool:
    """Whether it is SQLite's fault, or that of the file or its place."""
    # Errors of the module itself, and not of the library behind it, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in _SQLITE_CODES or str(error).startswith(_NO_TABLE)


def _login_refused(error: exc.DBAPIError) -> bool:
    """Whether each server refuses it; one whose name has several addresses, at any of them."""
    if not isinstance(error, exc.OperationalError) or getattr(error.orig, "sqlstate", None):
        return False
    servers: dict[str, bool] = {}
    for line in _lines(error.orig or error):
        server = line.partition(", hostaddr: ")[0]
        servers[server] = servers.get(server, False) or bool(_LOGIN_REFUSED.search(line))
    return all(servers.values())


def _reason(error: BaseException) -> str:
    """The driver's message, in one line: never a statement or its parameters."""
    text = "; ".join(_lines(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _lines(error: BaseException) -> Sequence[str]:
    """The first line of the driver's message, or a line for each server that it tried."""
    lines = str(error).strip().splitlines()
    return [each.removeprefix("- ") for each in lines if each.startswith("- host:")] or lines[:1]
