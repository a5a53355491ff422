"""An empty database of each kind, and one with the schema on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import PostgresServer
from tests.support.containers import in_containers


@pytest.fixture(params=["sqlite", in_containers("postgresql")])
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'aoi.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = await server.new_database()
    yield server.url(database)
    await server.delete_database(database)


@pytest.fixture
async def postgres(upgraded_postgres_url: str) -> AsyncIterator[SqlStore]:
    """A store on PostgreSQL, impatient: what waits for a lock gives up after two seconds."""
    store = await open_store(upgraded_postgres_url, patience=2.0)
    yield store
    await store.close()
