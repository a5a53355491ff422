"""The tests of a channel that carries less than the largest content."""

from __future__ import annotations

import pytest

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.ports.channel import ConnectionlessChannel
from aoi_events.testing.conformance.provider import OfProvider, Provider, delivery, outcomes


class LimitedSuite(OfProvider):
    """The tests of a channel with a largest content, beside ``ChannelSuite``."""

    @pytest.mark.asyncio
    @pytest.mark.parametrize("type", ["text/plain", "text/vnd.example.thing"])
    async def test_the_measure_says_exactly_what_goes_out(
        self, provider: Provider, channel: ConnectionlessChannel, type: str
    ) -> None:
        """Content as large as the largest content goes out whole; an octet more is rejected
        and takes a wake-up; neither costs the others of the batch anything.
        """
        traits = provider.traits
        fits, too_large = _at_the_limit(traits, 0, type), _at_the_limit(traits, 1, type)
        assert traits.measure(too_large) == traits.measure(fits) + 1
        items = [
            delivery(provider, 1, content=too_large),
            delivery(provider, 2, content=fits),
            delivery(provider, 3, content=too_large, wake_up=True),
        ]
        sent = list(await channel.deliver(items))
        assert [(o.kind, o.closes_channel) for o in outcomes(sent)] == [
            (OutcomeKind.REJECTED, False),
            (OutcomeKind.ACCEPTED, False),
            (OutcomeKind.ACCEPTED, False),
        ]
        # What takes several messages may be complete after what came behind it.
        assert sorted(provider.arrived()) == sorted(map(provider.expects, items[1:]))


def _at_the_limit(traits: ChannelTraits, over: int, type: str = "text/plain") -> Content:
    """Content that measures ``over`` octets more than the channel carries."""
    assert traits.largest_content is not None
    bare = traits.measure(Content(data="", type=type))
    return Content(data="x" * (traits.largest_content + over - bare), type=type)
