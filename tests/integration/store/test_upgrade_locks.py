"""An upgrade of PostgreSQL's schema waits shortly for locks, and names who holds them."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from psycopg import AsyncConnection, IsolationLevel

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.platform.retry import RetryPolicy
from aoi_events.store import upgrade_locks
from aoi_events.store.migration import upgrade
from aoi_events.store.store import open_store
from aoi_events.testing.containers import PostgresServer
from tests.support.commands import AOI
from tests.support.containers import somebody_waits
from tests.support.limits import WITHIN
from tests.support.pgbouncer import PgBouncer


@asynccontextmanager
async def at_0001(url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """The database before revision 0002, and a session that may hold locks there."""
    await upgrade(url)
    async with await AsyncConnection.connect(url, application_name="backup") as holder:
        for statement in (
            "ALTER TABLE provider_messages DROP COLUMN folded, DROP COLUMN address",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            await holder.execute(statement)
        await holder.commit()
        yield holder


async def test_an_upgrade_waits_for_a_session_and_names_it(postgres_url: str) -> None:
    """While a session reads a table, the upgrade lets others read it, says which session it waits
    for, and goes on once that one has ended; it says what it did.
    """
    told: asyncio.Queue[str] = asyncio.Queue()
    async with at_0001(postgres_url) as holder:
        await holder.execute("SELECT count(*) FROM provider_messages")
        running = asyncio.create_task(upgrade(postgres_url, tell=told.put_nowait))
        async with asyncio.timeout(WITHIN):
            assert "from 0001 to 0002" in await told.get()
            await somebody_waits(postgres_url)
            async with await AsyncConnection.connect(postgres_url) as reader:
                await reader.execute("SELECT count(*) FROM provider_messages")
            waits = await told.get()
            assert f"session {holder.info.backend_pid} (user aoi, backup, idle in" in waits
            await holder.commit()
            await running
    assert "0002 is there" in [told.get_nowait() for _ in range(told.qsize())][-1]


@pytest.fixture
async def owner_url(postgres_server: PostgresServer, postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database in another time zone, for its owner, who may not see what others do."""
    name, database = f"owner_{uuid4().hex}", postgres_url.rpartition("/")[2]
    for statement in (
        f"CREATE ROLE {name} LOGIN PASSWORD '{name}'",
        f'ALTER DATABASE "{database}" OWNER TO {name}',
        f"ALTER DATABASE \"{database}\" SET timezone = 'Asia/Tokyo'",
    ):
        await postgres_server._execute(statement)
    yield postgres_url.replace("aoi:aoi", f"{name}:{name}")
    await postgres_server.delete_database(database)
    await postgres_server._execute(f"DROP ROLE {name}")


async def test_a_session_of_another_user_is_named(owner_url: str, postgres_url: str) -> None:
    """An upgrade by a user who may not see what other users' sessions do names their session."""
    async with at_0001(owner_url), await AsyncConnection.connect(postgres_url) as holder:
        await holder.execute("SELECT count(*) FROM provider_messages")
        with pytest.raises(
            StoreUnavailable, match=rf"session {holder.info.backend_pid} \(user aoi"
        ):
            await upgrade(owner_url, attempts=RetryPolicy(attempts=1))


async def test_times_are_in_utc(owner_url: str) -> None:
    """The time since which a session holds the lock is in UTC, as it says, in any time zone."""
    async with at_0001(owner_url) as holder:
        await holder.execute("SELECT count(*) FROM provider_messages")
        found = await holder.execute("SELECT now() AT TIME ZONE 'UTC'")
        began = (await found.fetchone() or [None])[0]
        with pytest.raises(StoreUnavailable, match=f"since {began:%Y-%m-%d %H:%M:%S} UTC"):
            await upgrade(owner_url, attempts=RetryPolicy(attempts=1))


async def test_an_upgrade_gives_up_on_a_lock(postgres_url: str) -> None:
    """After its attempts the upgrade is StoreUnavailable and names the session; the schema is as it
    was.
    """
    async with at_0001(postgres_url) as holder:
        await holder.execute("SELECT count(*) FROM provider_messages")
        with pytest.raises(StoreUnavailable, match=f"session {holder.info.backend_pid} .*backup"):
            await upgrade(postgres_url, attempts=RetryPolicy(attempts=1))
    store = await open_store(postgres_url)
    with pytest.raises(ConfigurationError, match="at 0001 and this version needs 0002"):
        await store.check()
    await store.close()


async def test_an_upgrade_gives_up_behind_a_pooler(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """A pooler in mode transaction has no time limit for the build of an index, and gives each
    statement another session: the upgrade gives up in time, names the session that is in the way,
    and succeeds when it is repeated.
    """
    pooler = PgBouncer(postgres_server, "transaction", 4)
    try:
        await asyncio.to_thread(pooler.start)
        pooled = pooler.url(postgres_url.rpartition("/")[2])
        async with at_0001(postgres_url) as holder, asyncio.timeout(WITHIN):
            await holder.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await holder.execute("SELECT 1")
            with pytest.raises(StoreUnavailable, match=f"session {holder.info.backend_pid} .*back"):
                await upgrade(pooled, attempts=RetryPolicy(attempts=1))
            await holder.commit()
            await upgrade(pooled)
    finally:
        await asyncio.to_thread(pooler.stop)


async def test_an_upgrade_that_loses_its_connection_may_be_repeated(postgres_url: str) -> None:
    """A session that ends while it builds an index is StoreUnavailable, and the next upgrade
    succeeds.
    """
    async with at_0001(postgres_url) as holder, asyncio.timeout(WITHIN):
        await holder.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await holder.execute("SELECT 1")
        running = asyncio.create_task(upgrade(postgres_url))
        await somebody_waits(postgres_url)
        await holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises(StoreUnavailable, match="lost its connection"):
            await running
        await holder.commit()
        await upgrade(postgres_url)


async def test_a_second_upgrade_says_that_it_waits(postgres_url: str) -> None:
    """While another upgrade is at work, one that comes later says so, with its session."""
    told: asyncio.Queue[str] = asyncio.Queue()
    async with at_0001(postgres_url) as holder:
        await holder.execute(f"SELECT pg_advisory_xact_lock({upgrade_locks.KEY})")
        running = asyncio.create_task(upgrade(postgres_url, tell=told.put_nowait))
        async with asyncio.timeout(WITHIN):
            assert f"session {holder.info.backend_pid} " in await told.get()
            await holder.commit()
            await running


async def test_the_command_prints_names_as_they_are(postgres_url: str) -> None:
    """`aoi db upgrade` prints the name of a session in one line, whatever characters are in it."""
    async with at_0001(postgres_url) as holder, asyncio.timeout(WITHIN):
        await holder.execute("SET application_name = '[/b] nightly backup [red] of the shop'")
        await holder.execute("SELECT count(*) FROM provider_messages")
        command = await asyncio.create_subprocess_exec(
            *AOI, "db", "upgrade", env={**os.environ, "AOI_STORE": postgres_url}, stdout=PIPE
        )
        assert command.stdout is not None
        assert b"from 0001" in await command.stdout.readline()
        line = (await command.stdout.readline()).decode()
        assert "[/b] nightly backup [red] of the shop, idle" in line
        assert "it tries again in" in line
        await holder.commit()
        printed, _ = await command.communicate()
        assert (command.returncode, b"up to date" in printed) == (0, True)
