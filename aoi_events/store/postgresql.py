"""PostgreSQL: the engine, and connections to that one of several servers that takes writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from aoi_events.errors import ConfigurationError
from aoi_events.store.faults import READ_ONLY_TRANSACTION

CONNECTING_FAILS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""The driver's errors while a connection is made or taken down."""

_ATTRIBUTES: Final = "target_session_attrs"
_FOR_WRITING: Final = ("read-write", "primary", "any")
_SERVER: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]+))?")


def postgresql_engine(target: URL, pool: int, patience: float) -> AsyncEngine:
    """The engine for ``target``, which may name several servers.

    Raises ConfigurationError for servers that cannot be tried, or would never take a write.
    """
    servers = _servers(target)
    # Several must be for writing: one that takes no writes at the moment would be tried for ever.
    possible = _FOR_WRITING if len(servers) < 2 else _FOR_WRITING[:1]
    wanted = target.query.get(_ATTRIBUTES, None if len(servers) < 2 else _FOR_WRITING[0])
    if wanted not in (None, *possible):
        raise ConfigurationError(
            f"the store's URL has {_ATTRIBUTES}={wanted}; use {_FOR_WRITING[0]}, or leave it out"
        )
    where: dict[str, Any] = {}
    if servers:
        target = target.difference_update_query(["host"])
        hosts, ports = [host for host, _ in servers], [port for _, port in servers]
        where = {"host": hosts, "port": ports}
    milliseconds = str(int(patience * 1000))
    engine = create_async_engine(
        target,
        hide_parameters=True,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=patience,
        pool_pre_ping=False,  # a lost connection is found by the statement, and tried again above
        connect_args={
            "timeout": patience,
            # Answers that never come, from a server that hangs, end by this one.
            "command_timeout": patience * 2,
            "async_creator_fn": _Connector().connect,
            **where,
            **({} if wanted is None else {_ATTRIBUTES: wanted}),
            "server_settings": {
                "application_name": "aoi-events",
                "statement_timeout": milliseconds,
                "lock_timeout": milliseconds,
                "idle_in_transaction_session_timeout": str(int(patience * 3000)),
                "jit": "off",  # our statements are short; compiling them would take longer
            },
        },
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        # The server of all these connections may have become a standby: connect anew, where
        # another one may take writes now.
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY_TRANSACTION:
            context.is_disconnect = True

    return engine


def _servers(target: URL) -> Sequence[tuple[str, int]]:
    """The host and port of each server that ``host`` in the URL's query names, if there are several
    or one with an IPv6 address; the dialect reads all others.
    """
    named = target.query.get("host", ())
    texts = named.split(",") if isinstance(named, str) else named
    if len(texts) < 2 and "[" not in "".join(texts):
        return ()
    found = [match for each in texts if (match := _SERVER.fullmatch(each))]
    if len(found) < len(texts) or "port" in target.query:
        raise ConfigurationError(
            "the store's URL names a server that cannot be read; "
            "use postgresql://user@/database?host=one:5432&host=[::2]:5432"
        )
    return [(each["v6"] or each["host"], int(each["port"] or 5432)) for each in found]


class _Connector:
    """Connects to the first of several servers that will do, beginning with the last that did.

    The driver tries several by itself, but within one limit for all, which a server that does not
    answer (a machine without power) uses up.
    """

    def __init__(self) -> None:
        self._first = 0

    async def connect(
        self, *, host: Any = None, port: Any = None, timeout: float, **options: Any
    ) -> Any:
        """A connection; ``timeout`` seconds for all servers together.

        ``host`` and ``port`` are lists where there are several. Raises what the driver raises.
        """
        if not isinstance(host, list):
            return await asyncpg.connect(host=host, port=port, timeout=timeout, **options)
        failures: list[str] = []
        for place in range(len(host)):
            number = (self._first + place) % len(host)
            where = f"{host[number]}:{port[number]}"
            try:
                connection = await asyncpg.connect(
                    host=host[number], port=port[number], timeout=timeout / len(host), **options
                )
            except asyncpg.TargetServerAttributeNotMatched:
                failures.append(f"{where} takes no writes")
            except CONNECTING_FAILS as error:
                failures.append(f"{where}: {str(error) or type(error).__name__}")
            else:
                self._first = number
                return connection
        raise ConnectionError("; ".join(failures))
