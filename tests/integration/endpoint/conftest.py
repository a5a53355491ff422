"""An endpoint beside every worker, on memory and SQLite or on RabbitMQ and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.integration.endpoint.server_under_test import ServerUnderTest
from tests.integration.services.conftest import (
    OpenSystem,
    backend,  # noqa: F401 - pytest finds fixtures by the names in this module
    open_system,  # noqa: F401 - as above
)

OpenServer = Callable[..., Awaitable[ServerUnderTest]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that reuses its connections."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def open_server(
    open_system: OpenSystem,  # noqa: F811 - the fixture, not another one
    http: aiohttp.ClientSession,
) -> OpenServer:
    """Opens an installation with an endpoint, with the settings of the test."""

    async def open_(**settings: Any) -> ServerUnderTest:
        endpoint = {"port": 0, "api_keys": ServerUnderTest.api_keys()} | settings.pop(
            "endpoint", {}
        )
        system = await open_system(endpoint=endpoint, **settings)
        await system.serve("endpoint")
        return ServerUnderTest(system, http)

    return open_


@pytest.fixture
async def server(open_server: OpenServer) -> ServerUnderTest:
    """A server with default settings."""
    return await open_server()
