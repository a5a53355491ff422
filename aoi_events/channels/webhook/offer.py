"""Check of a device's offer of a webhook. Pure."""

from __future__ import annotations

from typing import Final

from aoi_events.channels.base.http.offers import checked_offer
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.ports.channel import Offered, OfferParameters

URL: Final = "url"
"""The parameter that contains the URL of the device's receiver."""


def checked(channel: str, parameters: OfferParameters, settings: WebhookSettings) -> Offered:
    """The offer with its URL normalised. Raises Refusal (invalid) for anything but a good URL."""
    url = checked_offer(channel, parameters, (URL,), URL, settings)
    return Offered(parameters={URL: url}, address=url)
