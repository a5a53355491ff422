"""A store that is closed leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.store.store import open_store
from tests.support.limits import WITHIN

SLOW = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) "
    "SELECT max(i) FROM n"
)
"""Takes a second or so, and SQLite cannot be interrupted in it."""


def test_no_statement_outlives_a_closed_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that its task no longer waits for (the task was cancelled, and cancelled again
    while it cleaned up) ends before the store is closed, and so before its event loop is.
    """
    broken: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: broken.append(str(args.exc_value)))
    before = set(threading.enumerate())

    async def main() -> None:
        store = await open_store(f"sqlite:///{tmp_path}/aoi.sqlite3", upgrade=True)

        async def ask() -> None:
            async with store.transaction() as transaction:
                asking.set()
                await transaction._run(SLOW)

        asking = asyncio.Event()
        task = asyncio.ensure_future(ask())
        await asking.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        await store.close()

    asyncio.run(main())
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(timeout=WITHIN)
    assert broken == []
    assert left == set()


def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's thread has ended before its event loop has, though it could open nothing: it
    would answer to a loop that is closed, and print a traceback on the operator's terminal.
    """
    broken: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: broken.append(str(args.exc_value)))
    before = set(threading.enumerate())
    (tmp_path / "damaged.sqlite3").write_bytes(b"no database at all, but long enough for a header")

    async def main(file: str) -> set[threading.Thread]:
        store = await open_store(f"sqlite:///{tmp_path}/{file}")
        with pytest.raises((ConfigurationError, StoreUnavailable)):
            await store.check()
        await store.close()
        return {each for each in set(threading.enumerate()) - before if "connection" in each.name}

    for _ in range(20):
        for file in ("nowhere/aoi.sqlite3", "damaged.sqlite3"):
            assert asyncio.run(main(file)) == set()
    assert broken == []


async def test_a_database_in_memory_survives_a_task_that_was_cancelled() -> None:
    """Its only connection is the database; giving a statement up leaves it as it was."""
    store = await open_store("sqlite+aiosqlite://")

    async def ask() -> None:
        async with store.transaction() as transaction:
            asking.set()
            await transaction._run(SLOW)

    asking = asyncio.Event()
    task = asyncio.ensure_future(ask())
    await asking.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.transaction(read_only=True) as transaction:
        assert await transaction.clients({"cli_" + "a" * 26}) == {}
    await store.close()
