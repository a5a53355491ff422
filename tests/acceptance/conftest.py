"""The server under test: worker processes on a virtual host and database of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aoi_events.bootstrap.keys import create_key_file
from aoi_events.testing.containers import PostgresServer, RabbitServer
from aoi_events.testing.smsc import LoopbackSmsc
from tests.acceptance.server_under_test import ServerUnderTest


@pytest.fixture
async def server(
    own_rabbit_server: RabbitServer, own_postgres_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[ServerUnderTest]:
    """An empty virtual host, an empty database with its schema, keys, and an SMSC; on servers that
    the test may stop.
    """
    rabbit_server, postgres_server = own_rabbit_server, own_postgres_server
    vhost = await asyncio.to_thread(rabbit_server.new_vhost)
    database = await postgres_server.new_database(schema=True)
    key_file = tmp_path / "keys.json"
    create_key_file(key_file)
    async with LoopbackSmsc() as smsc:
        server = ServerUnderTest(rabbit_server, postgres_server, vhost, database, smsc, key_file)
        await asyncio.to_thread(server.add_users)
        yield server
    await asyncio.to_thread(rabbit_server.delete_vhost, vhost)
    await postgres_server.delete_database(database)
