"""The suite that every channel plug-in passes, ours and yours.

Make a class of it for each channel, and say there what is behind it::

    class TestPlugin(PluginSuite):
        plugin = ...          # and ``offers``

    class TestChannel(ChannelSuite):
        @pytest_asyncio.fixture
        async def provider(self): ...

Add `LimitedSuite` where the channel carries less than content may measure, and `ReceiptSuite` where
its provider says later what became of a message.
"""

from __future__ import annotations

from aoi_events.testing.conformance.channel import ChannelSuite
from aoi_events.testing.conformance.limits import LimitedSuite
from aoi_events.testing.conformance.plugins import PluginSuite
from aoi_events.testing.conformance.provider import (
    Answer,
    Offers,
    Provider,
    Told,
    Work,
    challenge,
    delivery,
    told_of,
)
from aoi_events.testing.conformance.receipts import ReceiptSuite

__all__ = [
    "Answer",
    "ChannelSuite",
    "LimitedSuite",
    "Offers",
    "PluginSuite",
    "Provider",
    "ReceiptSuite",
    "Told",
    "Work",
    "challenge",
    "delivery",
    "told_of",
]
