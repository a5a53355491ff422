"""PostgreSQL: the engine, its connections, and how a transaction begins there."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Self, TypeVar

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.abc import PQGen
from psycopg.adapt import Dumper
from psycopg.errors import ConnectionTimeout
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from aoi_events.store.engine import READ_ONLY
from aoi_events.store.faults import READ_ONLY_TRANSACTION
from aoi_events.store.libpq_url import parameters_of

T = TypeVar("T")

CONNECTING_FAILS: Final = (OSError, Error)
"""The driver's errors while a connection is made or taken down."""

_CONNECT_WITHIN: Final = 10.0
_PREPARE_AFTER: Final = 2
"""Executions of a statement after which the server keeps its plan for the connection."""


def postgresql_engine(url: str, pool: int, patience: float, lock_within: float) -> AsyncEngine:
    """The engine for ``url``, in which everything may stand that libpq takes.

    Raises ConfigurationError for a URL that cannot work.
    """
    parameters = parameters_of(url)
    servers = parameters.get("host", "").count(",") + 1
    each = min(patience, _CONNECT_WITHIN) / servers
    parameters.setdefault("connect_timeout", str(max(2, int(each))))
    parameters["client_encoding"] = "utf8"  # as our arrays are, whatever the URL says
    parameters.setdefault("fallback_application_name", "aoi-events")
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: _Connection.open(parameters, patience, lock_within),
        hide_parameters=True,
        use_native_hstore=False,  # nor ask each server for it
        pool_size=pool,
        max_overflow=0,
        pool_timeout=patience,
        pool_pre_ping=False,  # a lost connection is found by the statement, and tried again above
    )

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") == "AUTOCOMMIT":  # an index is built beside workers
            return
        mode = "BEGIN READ ONLY" if options.get(READ_ONLY) else "BEGIN"
        limits = getattr(connection.connection.driver_connection, "limits", "")
        connection.exec_driver_sql(f"{mode}; {limits}" if limits else mode)

    @event.listens_for(engine.sync_engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        # The server of all these connections may have become a standby: connect anew, where
        # another one may take writes now.
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY_TRANSACTION:
            context.is_disconnect = True

    return engine


class _Connection(AsyncConnection[Any]):
    """A connection whose statements have limits, and that gives up on a server that hangs."""

    limits = ""
    """Statements with which each transaction begins; empty where the connection has the limits."""
    _patience = _CONNECT_WITHIN

    @classmethod
    async def open(cls, parameters: dict[str, str], patience: float, lock_within: float) -> Self:
        """A connection with limits as of :func:`database_of`. Raises psycopg's errors."""
        try:
            # Transactions begin by a statement of ours; without one each statement is its own.
            connection = await cls.connect(**parameters, autocommit=True)  # type: ignore[arg-type]
        except ConnectionTimeout as error:
            if "," in parameters.get("host", ""):
                raise  # with each server
            where = f"{parameters.get('host', '')}:{parameters.get('port', 5432)}"
            raise ConnectionTimeout(
                f"{where} does not answer within {parameters['connect_timeout']} s"
            ) from error
        connection.adapters.register_dumper(list, _ArrayDumper)
        connection._patience = min(patience * 2, _CONNECT_WITHIN)
        try:
            await connection._limit(int(patience * 1000), int(lock_within * 1000))
        except BaseException:
            await connection.close()
            raise
        connection._patience = patience * 2  # what the server itself ends comes before
        return connection

    async def _limit(self, milliseconds: int, lock_timeout: int) -> None:
        limits = {
            "statement_timeout": milliseconds,
            "lock_timeout": lock_timeout,
            "idle_in_transaction_session_timeout": milliseconds * 3,
            "jit": "off",  # our statements are short; compiling them would take longer
        }
        found = await (await self.execute("SELECT pg_backend_pid()")).fetchone()
        if found == (self.info.backend_pid,):
            self.prepare_threshold = _PREPARE_AFTER
            await self.execute("; ".join(f"SET {name} = {limits[name]}" for name in limits))
        else:
            # A pooler, which names no process of the server. The next transaction may meet another
            # one, without these limits, and without the statements that this one prepared.
            self.prepare_threshold = None
            self.limits = "; ".join(f"SET LOCAL {name} = {limits[name]}" for name in limits)

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for the server. Raises OperationalError, and closes the connection, when it does
        not answer in time.
        """
        try:
            return await super().wait(gen, interval, timeout or self._patience)
        except OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise ConnectionTimeout(
                f"the server does not answer within {self._patience:g} s"
            ) from error


class _ArrayDumper(Dumper):
    """A list of texts, numbers or booleans as the text of an array.

    psycopg's own one takes as long for a batch as all the rest of its statement. JSON's encoder is
    fast, and its texts are an array's but for the brackets and for control characters.
    """

    def dump(self, obj: list[Any]) -> bytes:
        """The octets of the array."""
        text = _as_json(obj)[1:-1]
        if "\\" in text and "\\" in text.replace("\\\\", "").replace('\\"', ""):
            text = ",".join(map(_element, obj))
        return f"{{{text}}}".encode()


_as_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SPECIAL: Final = re.compile(r'[\\"]')


def _element(value: object) -> str:
    if isinstance(value, str):
        return '"' + _SPECIAL.sub(r"\\\g<0>", value) + '"'
    return _as_json(value)
