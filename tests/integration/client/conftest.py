"""An AOI Server that a test directs, and devices on it that end with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aoi_events.client import AoiClient, MemoryStorage, ReconnectPolicy
from tests.support.scripted_server import ScriptedServer

StartDevice = Callable[..., Awaitable[AoiClient]]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """The AOI Server."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def start_device(server: ScriptedServer) -> AsyncIterator[StartDevice]:
    """Starts a device with these settings; its pauses are short."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> AoiClient:
            usual = {
                "storage": MemoryStorage(),
                "device": "phone-1",
                "identity": "tel:+15550100",
                "reconnect_policy": ReconnectPolicy(first=0.01, most=0.05),
                "answer_within": 5.0,
            }
            client = AoiClient(server.url, **{**usual, **settings})
            return await stack.enter_async_context(client)

        yield start
