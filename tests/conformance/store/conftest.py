"""The two databases that the same tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copyfile

import pytest

from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import PostgresServer
from tests.support.containers import in_containers, somebody_waits


@dataclass
class Installation:
    """An empty database of one kind, for one test.

    ``somebody_waits`` returns once another transaction waits for a lock that we hold.
    """

    url: str
    somebody_waits: Callable[[], Awaitable[None]]
    opened: list[SqlStore] = field(default_factory=list)

    async def open(self) -> SqlStore:
        """A store of its own, as another process has it, closed when the test ends."""
        store = await open_store(self.url)
        self.opened.append(store)
        return store


@pytest.fixture(params=["sqlite", in_containers("postgresql")])
async def installation(
    request: pytest.FixtureRequest, aoi_empty_database: Path, tmp_path: Path
) -> AsyncIterator[Installation]:
    """A database with the schema and nothing in it."""
    if request.param == "sqlite":
        file = copyfile(aoi_empty_database, tmp_path / "aoi.db")
        made = Installation(f"sqlite+aiosqlite:///{file}", _turns)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        database = await server.new_database(schema=True)
        url = server.url(database)
        made = Installation(url, partial(somebody_waits, url))
    yield made
    for store in made.opened:
        await store.close()
    if request.param == "postgresql":
        await server.delete_database(database)


@pytest.fixture
async def store(installation: Installation) -> SqlStore:
    """A store on an empty database."""
    return await installation.open()


async def _turns() -> None:
    """SQLite lets one transaction write; who waits stands before it, and has looked by now."""
    for _ in range(20):
        await asyncio.sleep(0)
