"""Faults of the database are StoreUnavailable, and pass; mistakes of ours are not."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from aoi_events.errors import StoreUnavailable
from aoi_events.ports.store import Lock
from aoi_events.store import SqlStore, open_store, upgrade
from tests.conformance.store.rows import a_client, client_id, fill


async def test_a_killed_session_is_unavailable_and_passes(postgres: SqlStore) -> None:
    """The transaction whose connection ended says so; the next one gets a new connection."""
    async with postgres.transaction() as transaction:
        await fill(transaction)
    with pytest.raises(StoreUnavailable):
        async with postgres.transaction() as transaction:
            await transaction._run(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with postgres.transaction() as transaction:
        assert set(await transaction.clients([client_id(1)])) == {client_id(1)}


async def test_a_deadlock_is_unavailable_for_one(postgres: SqlStore) -> None:
    """Of two that wait for each other one is told to try again, and the other goes on."""
    async with postgres.transaction() as transaction:
        await fill(transaction, (1, 2))
    barrier = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with postgres.transaction() as transaction:
            await transaction.clients([client_id(first)], Lock.EXCLUSIVE)
            await barrier.wait()
            await transaction.clients([client_id(second)], Lock.EXCLUSIVE)

    ends = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "StoreUnavailable"]


async def test_a_statement_that_takes_too_long_is_unavailable(postgres: SqlStore) -> None:
    """The server ends a statement when the store's patience does."""
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        async with postgres.transaction() as transaction:
            await transaction._run(text("SELECT pg_sleep(60)"))


async def test_a_lock_that_is_not_given_is_unavailable(postgres: SqlStore) -> None:
    """Waiting for a row ends with the store's patience."""
    async with postgres.transaction() as transaction:
        await fill(transaction)
        with pytest.raises(StoreUnavailable):
            async with postgres.transaction() as other:
                await other.save_clients([a_client(1)])


async def test_a_busy_pool_is_unavailable(postgres_url: str) -> None:
    """When every connection is taken for too long, the error names the setting."""
    store = await open_store(postgres_url, pool=1, patience=0.2)
    async with store.transaction():
        with pytest.raises(StoreUnavailable, match="AOI_STORE_POOL"):
            async with store.transaction():
                raise AssertionError("unreachable")
    await store.close()


async def test_a_mistake_is_no_fault_of_the_database(postgres: SqlStore) -> None:
    """A wrong statement raises what it raises: trying again would never help."""
    with pytest.raises(DBAPIError, match="nonsense"):
        async with postgres.transaction() as transaction:
            await transaction._run(text("SELECT nonsense"))


async def test_errors_show_no_parameters(postgres: SqlStore) -> None:
    """What a failing statement was given stays out of its error, which may be logged."""
    with pytest.raises(DBAPIError) as caught:
        async with postgres.transaction() as transaction:
            await transaction._run(text("SELECT CAST(:x AS int) / 0"), {"x": 4_711})
    assert "4711" not in str(caught.value)


async def test_sqlite_locked_by_another_process_is_unavailable(tmp_path: Path) -> None:
    """A writer elsewhere that does not finish is waited for, and then reported."""
    file = tmp_path / "aoi.db"
    await upgrade(f"sqlite:///{file}")
    store = await open_store(f"sqlite:///{file}", patience=0.2)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        async with store.transaction():
            raise AssertionError("unreachable")
    other.execute("ROLLBACK")
    other.close()
    async with store.transaction() as transaction:
        await fill(transaction)
    await store.close()


async def test_sqlite_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A folder that does not exist is a fault of the place, not of the program."""
    store = await open_store(f"sqlite:///{tmp_path / 'no' / 'aoi.db'}")
    with pytest.raises(StoreUnavailable, match="open"):
        async with store.transaction():
            raise AssertionError("unreachable")
    await store.close()
