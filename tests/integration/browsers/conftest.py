"""A whole server, and browsers that connect to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.testing import AoiServer
from tests.integration.browsers.browser import Browser
from tests.support.containers import in_containers

NewBrowser = Callable[[], Browser]


@pytest.fixture(params=["aoi", in_containers("aoi_rabbitmq")])
def place(request: pytest.FixtureRequest) -> AoiServer:
    """A server on ``memory://`` and SQLite, and one on RabbitMQ and PostgreSQL."""
    server: AoiServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what the browsers opened."""
    async with AsyncExitStack() as stack:
        yield stack


def encrypted(text: str) -> Content:
    """Content that says it is encrypted; nobody here can tell."""
    return Content.of(text.encode()).model_copy(
        update={"encryption": ContentEncryption(coding="aes128gcm")}
    )
