"""The store on servers that take no writes for a while, and on one that takes another's place."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import make_url

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.store.migration import upgrade
from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import PostgresServer
from tests.support.limits import WITHIN
from tests.support.pgbouncer import PgBouncer
from tests.support.rows import client_id, fill
from tests.support.standby import StandbyServer, set_read_only

PATIENCE = 2.0


@dataclass(frozen=True)
class Pair:
    """A primary, its standby, and a database on both."""

    primary: PostgresServer
    standby: StandbyServer
    database: str

    @property
    def url(self) -> str:
        """The URL of both; it names the standby first."""
        return url_of(self.database, self.standby, self.primary)


def url_of(database: str, *servers: PostgresServer) -> str:
    """A URL that names several servers, in this order."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://aoi:aoi@{hosts}/{database}"


@asynccontextmanager
async def another_login(host: str) -> AsyncIterator[int]:
    """The port of a server that wants Kerberos V5, which the driver has not."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            writer.write(b"N")  # no TLS
            await reader.readexactly(8)
            writer.write(struct.pack(">cII", b"R", 8, 2))
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def pair(own_postgres_server: PostgresServer) -> Iterator[Pair]:
    """A primary and its standby."""
    standby = StandbyServer(own_postgres_server)
    database = asyncio.run(own_postgres_server.new_database(schema=True))
    try:
        standby.start()
        yield Pair(own_postgres_server, standby, database)
    finally:
        standby.stop()


@pytest.fixture
async def store(pair: Pair) -> AsyncIterator[SqlStore]:
    """A store on the pair."""
    store = await open_store(pair.url, patience=PATIENCE)
    yield store
    await store.close()


async def add(store: SqlStore, number: int) -> None:
    """Write a client."""
    async with store.transaction() as transaction:
        await fill(transaction, [number])


async def test_writing_goes_on_where_the_standby_took_over(pair: Pair, store: SqlStore) -> None:
    """The primary stops answering, as a machine without power, and the standby is promoted: what is
    tried meanwhile is StoreUnavailable, then writes succeed, and what was written is there.
    """
    await store.check(rights=True)
    await add(store, 1)
    primary = pair.primary.container.get_wrapped_container()
    primary.pause()
    try:
        with pytest.raises(StoreUnavailable, match="the server does not answer within 4 s"):
            await add(store, 2)
        # No connection is left: the standby does not do, and the primary answers nothing.
        with pytest.raises(StoreUnavailable, match=f"{pair.standby.port}.*read-only"):
            await add(store, 2)
        await asyncio.to_thread(pair.standby.promote)
        async with asyncio.timeout(WITHIN):
            await retry(lambda: add(store, 2), policy=RetryPolicy(), on=StoreUnavailable)
        async with store.transaction(read_only=True) as transaction:
            found = await transaction.clients([client_id(1), client_id(2)])
        assert set(found) == {client_id(1), client_id(2)}
        await store.check(rights=True)
    finally:
        primary.unpause()


async def test_a_standby_alone_is_no_store_for_workers(pair: Pair) -> None:
    """A worker does not start on a server that takes no writes, and reading there is possible; a
    migration there is StoreUnavailable, too.
    """
    here = pair.standby.url(pair.database)
    store = await open_store(here)
    await store.check()
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        await store.check(rights=True)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await add(store, 1)
    async with store.transaction(read_only=True) as transaction:
        assert await transaction.clients([client_id(1)]) == {}
    await store.close()
    writing = await open_store(f"{here}?target_session_attrs=read-write")
    with pytest.raises(StoreUnavailable, match="read-only"):
        await writing.check()
    await writing.close()
    empty = await pair.primary.new_database()
    ahead = pair.standby.url(empty)
    await upgrade(url_of(empty, pair.standby, pair.primary))
    async with asyncio.timeout(WITHIN):
        await retry(lambda: upgrade(ahead), policy=RetryPolicy(), on=StoreUnavailable)


async def test_a_server_that_is_read_only_for_a_while(
    postgres_server: PostgresServer, upgraded_postgres_url: str
) -> None:
    """Writes are StoreUnavailable as long as the server refuses them, and reading goes on;
    afterwards writes succeed, although the session of before is read-only for good.
    """
    store = await open_store(upgraded_postgres_url, pool=1)
    database = make_url(upgraded_postgres_url).database
    assert database is not None
    await add(store, 1)
    await set_read_only(postgres_server, database, on=True)
    with pytest.raises(StoreUnavailable):
        await add(store, 3)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await add(store, 3)
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        await store.check(rights=True)
    async with store.transaction(read_only=True) as transaction:
        assert set(await transaction.clients([client_id(1)])) == {client_id(1)}
    with pytest.raises(StoreUnavailable, match="read-only"):
        await add(store, 3)
    await set_read_only(postgres_server, database, on=False)
    await add(store, 3)
    await store.close()


@pytest.mark.parametrize(
    "rest",
    [
        "a/db?target_session_attrs=standby",
        "a,b/db?target_session_attrs=prefer-standby",
        # One that refuses writes in another way than by its mode would be tried for ever.
        "a:1,b:2/db?target_session_attrs=any",
        "a,b/db?target_session_attrs=primary",
    ],
)
async def test_servers_without_writes_are_refused(rest: str) -> None:
    """A URL that asks for a server without writes is refused with advice."""
    with pytest.raises(ConfigurationError, match="use read-write"):
        await open_store(f"postgresql://aoi:hunter2@{rest}")


async def test_a_server_that_cannot_be_logged_in_to_is_passed(upgraded_postgres_url: str) -> None:
    """Where the driver cannot do what one server asks for, the next one is tried."""
    there = make_url(upgraded_postgres_url)
    async with another_login("127.0.0.1") as port:
        hosts = f"127.0.0.1:{port},{there.host}:{there.port}"
        store = await open_store(f"postgresql://aoi:aoi@{hosts}/{there.database}")
        await store.check(rights=True)
        await store.close()


@pytest.mark.parametrize("others", ["", ",[::1]:1"])
async def test_servers_may_have_ipv6_addresses(others: str) -> None:
    """An address in brackets is read alone and among several."""
    async with another_login("::1") as port:
        store = await open_store(f"postgresql://aoi@[::1]:{port}{others}/db")
        with pytest.raises(StoreUnavailable, match=r"[Kk]erberos|authentication method"):
            await store.check()
        await store.close()


async def test_an_upgrade_names_a_server_that_hangs_behind_a_pooler(
    own_postgres_server: PostgresServer,
) -> None:
    """A pooler lets clients log in whatever its server does: an upgrade says that the server does
    not answer, within the time for connecting, although a statement of its own may take an hour.
    """
    pooler = PgBouncer(own_postgres_server, "transaction", 4)
    server = own_postgres_server.container.get_wrapped_container()
    try:
        await asyncio.to_thread(pooler.start)
        server.pause()
        try:
            with pytest.raises(StoreUnavailable, match="does not answer within 10 s"):
                await upgrade(pooler.url("postgres"))
        finally:
            server.unpause()
    finally:
        await asyncio.to_thread(pooler.stop)
