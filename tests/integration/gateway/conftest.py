"""A gateway on loopback, its broker in this process, and scripted workers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.gateway.gateway import Gateway
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.ports.broker import Broker
from tests.integration.gateway.devices import Devices
from tests.support.gateway_workers import Workers
from tests.support.limits import WITHIN

GATEWAY_USER = "aoi-gateway"
WORKER_USER = "worker"


@dataclass
class BrokerAccess:
    """How to connect to the broker as a user, and how to cut the gateway's connection."""

    connect: Callable[[str], Awaitable[Broker]]
    cut: Callable[[], Awaitable[None]]


@dataclass
class Running:
    """A gateway that runs, with everything around it."""

    broker_access: BrokerAccess
    gateway: Gateway
    workers: Workers
    devices: Devices
    stop: asyncio.Event
    task: asyncio.Task[None]

    @property
    def node(self) -> str:
        """The present name of the node."""
        return self.gateway._node_queue.name

    async def drop_broker(self) -> None:
        """Cut the gateway's connection to the broker, which it then opens again."""
        await self.broker_access.cut()

    async def drained(self) -> None:
        """Stop, and return when the gateway has ended."""
        self.stop.set()
        async with asyncio.timeout(WITHIN):
            await self.task


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def server() -> MemoryServer:
    """The broker of this process."""
    return MemoryServer()


@pytest.fixture
def broker_access(server: MemoryServer) -> BrokerAccess:
    """The broker of this process; a test module may override this fixture."""

    async def connect(user: str) -> Broker:
        return MemoryBroker(server, user=user)

    async def cut() -> None:
        server.drop_connection(GATEWAY_USER)

    return BrokerAccess(connect, cut)


@pytest.fixture
async def workers(broker_access: BrokerAccess) -> AsyncIterator[Workers]:
    """The workers' side."""
    workers = Workers(await broker_access.connect(WORKER_USER))
    await workers.start()
    yield workers
    await workers.stop()


@pytest.fixture
async def start(broker_access: BrokerAccess, workers: Workers) -> AsyncIterator[Start]:
    """Starts a gateway with these settings; all others are quick enough for tests."""
    stack = AsyncExitStack()

    async def start(**settings: Any) -> Running:
        quick = {"port": 0, "tick": 0.02, "close_within": 0.5, "drain_within": 5.0}
        broker = await broker_access.connect(GATEWAY_USER)
        gateway = Gateway(broker, settings=GatewaySettings(**{**quick, **settings}))
        stop = asyncio.Event()
        task = asyncio.create_task(gateway.run(stop))

        async def end() -> None:
            stop.set()
            try:
                await asyncio.wait({task}, timeout=WITHIN)
                if not task.cancelled():
                    task.result()
            finally:
                await broker.close()

        stack.push_async_callback(end)
        async with asyncio.timeout(WITHIN):
            await gateway.started.wait()
        devices = Devices(lambda: gateway.port, stack)
        return Running(broker_access, gateway, workers, devices, stop, task)

    yield start
    await stack.aclose()


@pytest.fixture
async def running(start: Start) -> Running:
    """A gateway with the usual settings."""
    return await start()
