"""The installation under test, on memory and SQLite or on RabbitMQ and PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.keys import ServerKeys
from aoi_events.bootstrap.settings import load_settings
from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.open import memory_server
from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.channels.websocket import plugin as websocket
from aoi_events.domain.clients.tokens import TokenKeys
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.ports.clock import Clock
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import PostgresServer, RabbitServer
from aoi_events.testing.scripted import ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import FixedDice, ManualClock
from aoi_events.topology import Queue, QueueKind, topology
from tests.integration.services.one_worker import ANSWERS, Bench, FailingParking, Wishes
from tests.support.containers import in_containers
from tests.support.system import WORKERS, System

KEYS = ServerKeys(TokenKeys({"k1": bytes(range(64))}), b"challenge key of 32 octets, fixed")

ACK_WITHIN = 30.0
"""Seconds that every channel gives a device to acknowledge."""

OpenSystem = Callable[..., Awaitable[System]]


@pytest.fixture(params=["memory+sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where the test runs; parametrise it indirectly to run a test on both."""
    return str(request.param)


BOTH = pytest.mark.parametrize(
    "backend", ["memory+sqlite", in_containers("rabbitmq+postgresql")], indirect=True
)
"""Marks tests that run on the real broker and store, too."""


@pytest.fixture
async def open_system(
    request: pytest.FixtureRequest, backend: str, aoi_empty_database: Path, tmp_path: Path
) -> AsyncIterator[OpenSystem]:
    """Opens the installation with settings of the test's own; once per test."""
    async with AsyncExitStack() as stack:
        broker, _, store = backend.partition("+")
        if store == "sqlite":
            file = tmp_path / "aoi.sqlite3"
            shutil.copy(aoi_empty_database, file)
            store_url = f"sqlite:///{file}"
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres_server")
            store_url = postgres.url(await stack.enter_async_context(_database(postgres)))
        if broker == "memory":
            name = uuid4().hex
            server = memory_server(name)
            broker_url = f"memory://aoi@{name}"

            async def connect(user: str) -> Broker:
                return MemoryBroker(server, user=user)
        else:
            rabbit: RabbitServer = request.getfixturevalue("rabbit_server")
            vhost = await stack.enter_async_context(_vhost(rabbit))
            broker_url = await asyncio.to_thread(rabbit.add_user, vhost, "aoi")
            urls = {"aoi": broker_url}

            async def connect(user: str) -> Broker:
                if user not in urls:
                    urls[user] = await asyncio.to_thread(rabbit.add_user, vhost, user)
                return await RabbitBroker.connect(urls[user])

        async def open_(
            *,
            workers: Sequence[str] = WORKERS,
            plugin: Any = None,
            beside: Callable[[Clock], ChannelPlugin] | None = None,
            **settings: Any,
        ) -> System:
            clock, dice = ManualClock(), FixedDice()
            provider = ScriptedProvider(clock=clock)
            scripted = ScriptedPlugin(provider, **({"ack_within": ACK_WITHIN} | (plugin or {})))
            plugins: dict[str, ChannelPlugin] = {"websocket": websocket, "scripted": scripted}
            if beside is not None:
                another = beside(clock)
                plugins[another.type] = another
            plain = {
                "broker": broker_url,
                "store": store_url,
                "gateway": {"port": 0},
                "health": {"enabled": False},
                "channels": {"websocket": {"ack_within": ACK_WITHIN}},
            }
            installation = await stack.enter_async_context(
                open_installation(
                    load_settings(**(plain | settings)),
                    alone=True,
                    clock=clock,
                    dice=dice,
                    plugins=plugins,
                    keys=KEYS,
                )
            )
            system = System(installation, clock, dice, provider, scripted, connect, stack)
            await system.start(workers)
            return system

        yield open_


@pytest.fixture
async def system(open_system: OpenSystem) -> System:
    """The installation with settings as they are by default."""
    return await open_system()


@pytest.fixture
async def proving(open_system: OpenSystem) -> System:
    """An installation whose scripted channel wants its addresses proved."""
    return await open_system(plugin={"needs_proof": True})


@pytest.fixture
async def empty_store(aoi_empty_database: Path, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A store with nothing in it, for tests of what services do in their transactions."""
    shutil.copy(aoi_empty_database, tmp_path / "empty.sqlite3")
    store = await open_store(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    yield store
    await store.close()


@pytest.fixture
async def bench(aoi_empty_database: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    """A worker that is not running yet."""
    shutil.copy(aoi_empty_database, tmp_path / "aoi.sqlite3")
    server, clock, handler = MemoryServer(), ManualClock(), Wishes()
    async with AsyncExitStack() as stack:
        store = await open_store(f"sqlite:///{tmp_path / 'aoi.sqlite3'}")
        stack.push_async_callback(store.close)
        broker, sender = MemoryBroker(server), MemoryBroker(server, user="shop")
        for each in (broker, sender):
            stack.push_async_callback(each.close)
        await broker.declare(topology())
        listener = MemoryBroker(server, user="listener")
        stack.push_async_callback(listener.close)
        gave_up = asyncio.Event()
        loop = asyncio.get_running_loop()

        def give_up() -> None:
            loop.call_soon_threadsafe(gave_up.set)

        parking = FailingParking(store, clock, quota=3)
        bench = Bench(
            server,
            store,
            clock,
            handler,
            parking,
            BatchWorker(
                handler,
                broker=broker,
                parking=parking,
                clock=clock,
                hard_limit=0.05,
                give_up=give_up,
            ),
            broker,
            sender,
            await listener.subscribe(Queue("echo", QueueKind.EXCLUSIVE), prefetch=100),
            await listener.subscribe(Queue(ANSWERS, QueueKind.EXCLUSIVE), prefetch=100),
            gave_up,
        )
        yield bench
        handler.store_is_up.set()
        await bench.end()


@asynccontextmanager
async def _vhost(server: RabbitServer) -> AsyncIterator[str]:
    vhost = await asyncio.to_thread(server.new_vhost)
    try:
        yield vhost
    finally:
        await asyncio.to_thread(server.delete_vhost, vhost)


@asynccontextmanager
async def _database(server: PostgresServer) -> AsyncIterator[str]:
    database = await server.new_database(schema=True)
    try:
        yield database
    finally:
        await server.delete_database(database)
