"""The plug-ins that the same tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aoi_events.ports.channel import ConnectionlessChannel
from tests.conformance.channel.stages import CONNECTIONLESS, Provider, healthy, open_provider


@pytest.fixture(params=CONNECTIONLESS)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    """The provider of each connectionless channel, up and answering."""
    async with open_provider(request.param) as provider:
        yield provider


@pytest.fixture
async def channel(provider: Provider) -> ConnectionlessChannel:
    """A channel that is connected to it."""
    channel = await provider.connect()
    await healthy(channel)
    return channel
