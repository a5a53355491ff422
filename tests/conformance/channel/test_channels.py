"""Our own channels pass the suite that ships for everybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aoi_events.ports.channel import ChannelPlugin
from aoi_events.testing.conformance import (
    ChannelSuite,
    LimitedSuite,
    Offers,
    PluginSuite,
    Provider,
    ReceiptSuite,
)
from tests.conformance.channel.providers import (
    CONNECTIONLESS,
    LIMITED,
    OFFERS,
    WITH_RECEIPTS,
    open_provider,
    plugin_of,
)


class TestPlugins(PluginSuite):
    @pytest.fixture(params=sorted(OFFERS))
    def kind(self, request: pytest.FixtureRequest) -> str:
        """The type of each plug-in."""
        return str(request.param)

    @pytest.fixture
    def plugin(self, kind: str) -> ChannelPlugin:
        """As an installation finds it."""
        return plugin_of(kind)

    @pytest.fixture
    def offers(self, kind: str) -> Offers:
        """What devices may offer for it."""
        return OFFERS[kind]


@pytest.fixture
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    """The provider of that connectionless channel, up and answering."""
    async with open_provider(request.param) as provider:
        yield provider


@pytest.mark.parametrize("provider", CONNECTIONLESS, indirect=True)
class TestChannels(ChannelSuite):
    pass


@pytest.mark.parametrize("provider", LIMITED, indirect=True)
class TestLimited(LimitedSuite):
    pass


@pytest.mark.parametrize("provider", WITH_RECEIPTS, indirect=True)
class TestReceipts(ReceiptSuite):
    pass
