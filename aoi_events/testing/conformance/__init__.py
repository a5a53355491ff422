"""The suite that every channel plug-in passes, ours and yours.

Make a class of it for each channel, and say there what is behind it::

    class TestPlugin(PluginSuite):
        plugin = ...          # and ``offers``

    class TestChannel(ChannelSuite):
        @pytest_asyncio.fixture
        async def provider(self): ...

Add `LimitedSuite` for a channel that carries less than the largest content, and `ReceiptSuite` for
a channel whose provider sends receipts.
"""

from __future__ import annotations

from aoi_events.testing.conformance.channel import ChannelSuite
from aoi_events.testing.conformance.limits import LimitedSuite
from aoi_events.testing.conformance.plugins import PluginSuite
from aoi_events.testing.conformance.provider import (
    Offers,
    Provider,
    ProviderAnswer,
    Told,
    Work,
    challenge,
    delivery,
    told_of,
)
from aoi_events.testing.conformance.receipts import ReceiptSuite

__all__ = [
    "ChannelSuite",
    "LimitedSuite",
    "Offers",
    "PluginSuite",
    "Provider",
    "ProviderAnswer",
    "ReceiptSuite",
    "Told",
    "Work",
    "challenge",
    "delivery",
    "told_of",
]
