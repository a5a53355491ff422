"""The store behind a real PgBouncer, which keeps no prepared statements and gives its connections
to many clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import PostgresServer
from tests.support.pgbouncer import PgBouncer
from tests.support.rows import client_id, fill

CONNECTIONS = 4
TWICE_PREPARED = 6
"""So often a statement runs on each connection: the store prepares those that come again."""


@pytest.fixture(params=["session", "transaction"])
async def pooled_url(
    request: pytest.FixtureRequest, postgres_server: PostgresServer
) -> AsyncIterator[str]:
    """The URL of a database behind a pooler, which has fewer connections in mode transaction."""
    size = CONNECTIONS if request.param == "session" else CONNECTIONS // 2
    pooler = PgBouncer(postgres_server, request.param, size)
    database = await postgres_server.new_database(schema=True)
    try:
        await asyncio.to_thread(pooler.start)
        yield pooler.url(database)
    finally:
        await asyncio.to_thread(pooler.stop)
        await postgres_server.delete_database(database)


@pytest.fixture
async def pooled(pooled_url: str) -> AsyncIterator[SqlStore]:
    """A store behind the pooler."""
    store = await open_store(pooled_url, pool=CONNECTIONS, patience=5.0)
    yield store
    await store.close()


async def test_transactions_share_the_connections(pooled: SqlStore) -> None:
    """Many transactions at once write and read, each statement often enough to be prepared."""
    await pooled.check(rights=True)

    async def write_and_read(number: int) -> None:
        async with pooled.transaction() as transaction:
            await fill(transaction, [number])
        async with pooled.transaction(read_only=True) as transaction:
            assert set(await transaction.clients([client_id(number)])) == {client_id(number)}

    await asyncio.gather(*map(write_and_read, range(CONNECTIONS * TWICE_PREPARED)))


async def test_limits_hold_behind_a_pooler(pooled: SqlStore) -> None:
    """A statement that takes too long is ended, and the next transaction has its limits anew."""
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            async with pooled.transaction() as transaction:
                await transaction._run(text("SELECT pg_sleep(60)"))


async def test_options_that_the_pooler_refuses(pooled_url: str) -> None:
    """A parameter that the pooler does not pass on is an error of the settings."""
    store = await open_store(f"{pooled_url}?options=-c%20statement_timeout%3D5", patience=5.0)
    with pytest.raises(ConfigurationError, match=r"unsupported startup parameter.*AOI_STORE"):
        await store.check()
    await store.close()
