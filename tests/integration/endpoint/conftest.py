"""An endpoint beside every worker, on memory and SQLite or on RabbitMQ and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.integration.endpoint.senders import Place
from tests.integration.services.conftest import (
    BOTH,
    OpenSystem,
    backend,
    open_system,
)

__all__ = ["BOTH", "backend", "open_system"]


OpenPlace = Callable[..., Awaitable[Place]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps its connections."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def open_place(open_system: OpenSystem, http: aiohttp.ClientSession) -> OpenPlace:
    """Opens the installation with an endpoint of the test's own settings."""

    async def open_(**settings: Any) -> Place:
        endpoint = {"port": 0, "api_keys": Place.api_keys()} | settings.pop("endpoint", {})
        system = await open_system(endpoint=endpoint, **settings)
        await system.serve("endpoint")
        return Place(system, http)

    return open_


@pytest.fixture
async def place(open_place: OpenPlace) -> Place:
    """With settings as they are by default."""
    return await open_place()
