"""The two brokers that the same tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.ports.broker import Broker
from aoi_events.testing.containers import RabbitServer
from tests.support.containers import in_containers

ALICE, BOB = "alice", "bob"


@dataclass
class Installation:
    """A broker of one kind, for one test."""

    connect_as: Callable[[str], Awaitable[Broker]]
    drop_connections: Callable[[], Awaitable[None]]
    delete: Callable[[str], Awaitable[None]]
    """Deletes an exclusive queue under its consumer."""
    opened: list[Broker] = field(default_factory=list)

    async def connect(self, user: str = ALICE) -> Broker:
        """A connection of ``user``, closed when the test ends."""
        broker = await self.connect_as(user)
        self.opened.append(broker)
        return broker


@pytest.fixture(params=["memory", in_containers("rabbitmq")])
async def installation(request: pytest.FixtureRequest) -> AsyncIterator[Installation]:
    """An empty broker."""
    made = memory() if request.param == "memory" else rabbitmq(request)
    yield made
    for broker in made.opened:
        await broker.close()


@pytest.fixture
async def broker(installation: Installation) -> Broker:
    """A connection of :data:`ALICE` to an empty broker."""
    return await installation.connect()


def memory() -> Installation:
    """The in-process broker."""
    server = MemoryServer()

    async def connect_as(user: str) -> Broker:
        return MemoryBroker(server, user=user)

    async def drop_connections() -> None:
        server.drop_connection(ALICE)
        server.drop_connection(BOB)

    async def delete(queue: str) -> None:
        server.delete(queue)

    return Installation(connect_as, drop_connections, delete)


def rabbitmq(request: pytest.FixtureRequest) -> Installation:
    """A virtual host of the RabbitMQ container."""
    server: RabbitServer = request.getfixturevalue("rabbit_server")
    vhost: str = request.getfixturevalue("rabbit_vhost")
    urls: dict[str, str] = {}

    async def connect_as(user: str) -> Broker:
        if user not in urls:
            urls[user] = await asyncio.to_thread(server.add_user, vhost, user)
        return await RabbitBroker.connect(urls[user])

    async def drop_connections() -> None:
        await asyncio.to_thread(
            server.ctl, "close_all_connections", "--vhost", vhost, "a test drops them"
        )

    async def delete(queue: str) -> None:
        await asyncio.to_thread(server.ctl, "delete_queue", "--vhost", vhost, queue)

    return Installation(connect_as, drop_connections, delete)
