"""A gateway on loopback, its broker in this process, and scripted workers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.gateway import Gateway, GatewaySettings
from tests.integration.gateway.devices import Devices
from tests.integration.gateway.workers import WITHIN, Workers

GATEWAY_USER = "aoi-gateway"


@dataclass
class Running:
    """A gateway that runs, with everything around it."""

    gateway: Gateway
    workers: Workers
    devices: Devices
    stop: asyncio.Event
    task: asyncio.Task[None]

    @property
    def node(self) -> str:
        """The present name of the node."""
        return self.gateway._node.name

    def drop_broker(self) -> None:
        """Cut the gateway's connection to the broker; it comes back at once."""
        self.workers.server.drop_connection(GATEWAY_USER)

    async def drained(self) -> None:
        """Stop, and return when the gateway has ended."""
        self.stop.set()
        async with asyncio.timeout(WITHIN):
            await self.task


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def server() -> MemoryServer:
    """The broker."""
    return MemoryServer()


@pytest.fixture
async def workers(server: MemoryServer) -> AsyncIterator[Workers]:
    """The workers' side."""
    workers = Workers(server)
    await workers.start()
    yield workers
    if not server.running:
        server.start()
    await workers.stop()


@pytest.fixture
async def start(server: MemoryServer, workers: Workers) -> AsyncIterator[Start]:
    """Starts a gateway; settings by name, the rest quick enough for tests."""
    stack = AsyncExitStack()

    async def start(**settings: Any) -> Running:
        quick = {"port": 0, "tick": 0.02, "close_within": 0.5, "drain_within": 5.0}
        broker = MemoryBroker(server, user=GATEWAY_USER)
        gateway = Gateway(broker, settings=GatewaySettings(**{**quick, **settings}))
        stop = asyncio.Event()
        task = asyncio.create_task(gateway.run(stop))

        async def end() -> None:
            if not server.running:
                server.start()
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
        return Running(gateway, workers, devices, stop, task)

    yield start
    await stack.aclose()


@pytest.fixture
async def running(start: Start) -> Running:
    """A gateway with the usual settings."""
    return await start()
