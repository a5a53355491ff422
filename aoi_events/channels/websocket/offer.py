"""Check of a device's offer of the WebSocket channel. Pure."""

from __future__ import annotations

from aoi_events.channels.base.offers import only
from aoi_events.ports.channel import Offered, OfferParameters


def checked(channel: str, parameters: OfferParameters) -> Offered:
    """The offer, which has no parameters. Raises Refusal (invalid) for any parameter."""
    only(channel, parameters)
    return Offered(parameters={})
