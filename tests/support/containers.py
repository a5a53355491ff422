"""One RabbitMQ and one PostgreSQL container for a whole test run: those that ship for everybody."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
import pytest

from aoi_events.testing.containers import PostgresServer, RabbitServer
from tests.support.limits import WITHIN

_WAITING: Final = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""Asks PostgreSQL how many sessions of this database, and of no other test's, wait for a lock."""


def address_of(server: PostgresServer | RabbitServer) -> str:
    """The IP address at which other containers reach it, at its usual port."""
    container = server.container.get_wrapped_container()
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    return str(next(network["IPAddress"] for network in networks))


async def somebody_waits(url: str, *, count: int = 1) -> None:
    """Return as soon as so many sessions of the database at ``url`` wait for a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(WITHIN):
            # Each look is a round trip to the server, so this loop is no busy one.
            while True:
                found = await (await connection.execute(_WAITING)).fetchone()
                if found is not None and found[0] >= count:
                    return


def in_containers(param: str) -> Any:
    """A parameter with which a test needs containers: its fixtures ask for them at run time."""
    return pytest.param(param, marks=pytest.mark.containers)
