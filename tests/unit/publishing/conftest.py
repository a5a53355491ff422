"""A scripted AOI Server on a memory broker, and a Publisher that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from aoi_events.broker.memory import MemoryServer
from aoi_events.publishing import Publisher
from tests.unit.publishing.responder import Responder, TellingBroker


@pytest.fixture
def server() -> MemoryServer:
    """The broker."""
    return MemoryServer()


@pytest.fixture
async def responder(server: MemoryServer) -> AsyncIterator[Responder]:
    """The scripted AOI Server, at work."""
    responder = Responder(server)
    started = asyncio.Event()
    task = asyncio.create_task(responder.run(started))
    await started.wait()
    yield responder
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def broker(server: MemoryServer) -> AsyncIterator[TellingBroker]:
    """The connection of the sender ``shop``."""
    broker = TellingBroker(server, user="shop")
    yield broker
    await broker.close()


@pytest.fixture
async def publisher(responder: Responder, broker: TellingBroker) -> AsyncIterator[Publisher]:
    """A Publisher of ``shop``."""
    async with Publisher(broker, timeout=5) as publisher:
        yield publisher
