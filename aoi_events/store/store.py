"""The store: transactions on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.errors import StoreUnavailable
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.metrics import Level, StoreMetrics
from aoi_events.store import schema
from aoi_events.store.backlog import BacklogQueries
from aoi_events.store.bulk_rows import Sql
from aoi_events.store.channels import ChannelQueries, ProofQueries
from aoi_events.store.claiming import ClaimQueries
from aoi_events.store.clients import ApplicationQueries, ClientQueries
from aoi_events.store.deliveries import DeliveryQueries
from aoi_events.store.engine import READ_ONLY, Database, database_of
from aoi_events.store.faults import translated
from aoi_events.store.health import HealthQueries
from aoi_events.store.losses import LossQueries
from aoi_events.store.notifications import NotificationQueries, SubmissionQueries
from aoi_events.store.parking import ParkingQueries
from aoi_events.store.retention import RetentionQueries
from aoi_events.store.run_to_completion import run_to_completion

_CLOCK: Final = select(func.clock_timestamp())
"""Not that of the transaction's begin, before which a connection may have been made."""


class SqlTransaction(
    ClientQueries,
    ApplicationQueries,
    ChannelQueries,
    ProofQueries,
    NotificationQueries,
    ClaimQueries,
    DeliveryQueries,
    BacklogQueries,
    LossQueries,
    HealthQueries,
    SubmissionQueries,
    ParkingQueries,
    RetentionQueries,
):
    """One transaction, with all queries of the port."""


class SqlStore:
    """The store port on SQLite or PostgreSQL (READ COMMITTED); made by :func:`open_store`."""

    def __init__(self, database: Database, metrics: StoreMetrics = NO_METRICS) -> None:
        self._database = database
        self._metrics = metrics
        metrics.watch({Level.POOL: database.connections})
        self._closed = False
        self._reading = database.engine.execution_options(**{READ_ONLY: True})

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False) -> AsyncIterator[SqlTransaction]:
        """A new transaction. Raises StoreUnavailable, also when its commit fails."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        turn = nullcontext() if read_only else self._database.writer()
        with self._metrics.transaction(read_only=read_only):
            async with turn, self._begun(read_only=read_only) as transaction:
                yield transaction

    @asynccontextmanager
    async def _begun(self, *, read_only: bool) -> AsyncIterator[SqlTransaction]:
        engine = self._reading if read_only else self._database.engine
        connection = engine.connect()
        try:
            with translated():
                await self._complete(_start_transaction(connection))
            yield SqlTransaction(connection, self._database.sql)
            with translated():
                await self._complete(connection.commit())
        finally:
            # Rolls back what was not committed; a connection that cannot is thrown away.
            if connection.sync_connection is not None:
                with translated():
                    await self._complete(connection.close())

    async def _complete(self, work: Coroutine[Any, Any, None]) -> None:
        await (run_to_completion(work) if self._database.sql is Sql.SQLITE else work)

    async def check(self, *, rights: bool = False) -> None:
        """Raises StoreUnavailable when it cannot be reached, or (``rights``) takes no writes now;
        ConfigurationError when its schema is not the one that this version needs, or (``rights``)
        its user may not write there; the message contains the remedy.
        """
        await schema.check(self._database, rights=rights)

    async def now(self) -> datetime | None:
        """The time of the database's own clock, in UTC; None if it has none but this machine's.

        Raises StoreUnavailable.
        """
        if self._database.sql is Sql.SQLITE:
            return None
        async with self._begun(read_only=True) as transaction:
            found: datetime = (await transaction._run(_CLOCK)).scalar_one()
        return found.astimezone(UTC)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self._closed = True
        await self._database.close()


async def _start_transaction(connection: AsyncConnection) -> None:
    await connection.start()
    await connection.begin()


async def open_store(
    url: str,
    *,
    pool: int = 5,
    patience: float = 10.0,
    upgrade: bool = False,
    metrics: StoreMetrics = NO_METRICS,
) -> SqlStore:
    """The store at ``url``: ``sqlite:///path`` or ``postgresql://…``.

    ``pool`` bounds its connections; ``patience`` (seconds) a statement and any wait for a lock or a
    connection. ``upgrade`` brings the schema up to date first, and makes the file of SQLite where
    there is none; a database in memory (``sqlite://``) always is, since it begins empty.
    Raises ConfigurationError for a URL that cannot work; whether the database answers is for
    :meth:`SqlStore.check` to say.
    """
    database = database_of(url, pool=pool, patience=patience, create=upgrade)
    if upgrade or database.memory:
        # Alembic takes as long to load as the rest of the store, and workers do not need it.
        from aoi_events.platform.logs import get_logger
        from aoi_events.store import migration

        log = get_logger(__name__)
        if database.memory:
            await migration.migrate(database)
        else:
            await migration.upgrade(url, tell=lambda text: log.info("schema_upgrade", text=text))
    return SqlStore(database, metrics)
