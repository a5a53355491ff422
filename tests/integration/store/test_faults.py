"""Faults of the database are StoreUnavailable, and pass; mistakes of ours are not."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.ports.store import Lock
from aoi_events.store.migration import upgrade
from aoi_events.store.store import SqlStore, open_store
from tests.support.rows import a_client, a_submission, client_id, fill


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
    """Of two transactions that wait for each other one must try again, and the other goes on."""
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


@pytest.mark.parametrize(
    "state",
    ["42501", "42P01", "42P05", "26000", "54000", "55000", "58030", "F0000", "XX000", "XX001"],
)
async def test_a_server_that_cannot_is_unavailable(postgres: SqlStore, state: str) -> None:
    """Rights, tables, limits, damage, poolers: none of it is the fault of what was asked."""
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'told so' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(StoreUnavailable, match="told so"):
        async with postgres.transaction() as transaction:
            await transaction._run(raising)


@pytest.mark.parametrize("state", ["22P02", "23505", "42601", "42703"])
async def test_a_request_that_cannot_be_is_a_bug(postgres: SqlStore, state: str) -> None:
    """Data, constraints and statements of ours would be wrong the next time, too."""
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'told so' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(DBAPIError, match="told so"):
        async with postgres.transaction() as transaction:
            await transaction._run(raising)


async def test_a_table_that_is_gone_is_unavailable(tmp_path: Path, postgres: SqlStore) -> None:
    """A missing table is a fault of the database: a restore may remove tables for a while."""
    await upgrade(f"sqlite:///{tmp_path / 'aoi.db'}")
    for store in (postgres, await open_store(f"sqlite:///{tmp_path / 'aoi.db'}")):
        async with store.transaction() as transaction:
            await transaction._run(text("DROP TABLE submissions"))
        with pytest.raises(StoreUnavailable, match="submissions"):
            async with store.transaction() as transaction:
                await transaction.add_submissions([a_submission()])
        await store.close()


@pytest.mark.parametrize(
    "octets, error, words",
    [
        (b"no database at all " * 99, ConfigurationError, "is not a database of SQLite"),
        (b"", StoreUnavailable, "malformed"),
    ],
)
async def test_a_damaged_sqlite_file_is_reported(
    tmp_path: Path, octets: bytes, error: type[Exception], words: str
) -> None:
    """A file that is none of SQLite's is a wrong setting, lost pages are a fault of the place."""
    file = tmp_path / "aoi.db"
    await upgrade(f"sqlite:///{file}")
    whole = file.read_bytes()
    file.write_bytes(octets or whole[:4096] + bytes(len(whole) - 4096))
    store = await open_store(f"sqlite:///{file}")
    with pytest.raises(error, match=words):
        async with store.transaction() as transaction:
            await transaction.clients([client_id(1)])
    await store.close()


async def test_a_full_sqlite_is_unavailable(tmp_path: Path) -> None:
    """A file that cannot grow any more refuses what would make it grow."""
    await upgrade(f"sqlite:///{tmp_path / 'aoi.db'}")
    store = await open_store(f"sqlite:///{tmp_path / 'aoi.db'}", pool=1)
    async with store.transaction() as transaction:
        await transaction._run(text("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable, match="full"):
        async with store.transaction() as transaction:
            await fill(transaction, range(500))
    await store.close()


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


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """No time mends it: the error names the setting and the folder, for new databases, too."""
    store = await open_store(f"sqlite:///{tmp_path / 'no' / 'aoi.db'}")
    with pytest.raises(ConfigurationError, match=f"AOI_STORE: there is no folder {tmp_path}/no;"):
        async with store.transaction():
            raise AssertionError("unreachable")
    await store.close()
