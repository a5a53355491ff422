"""Check of a device's offer of a Web Push subscription. Pure."""

from __future__ import annotations

from typing import Final

from aoi_events.channels.base.http.offers import checked_offer
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.subscription import AUTH, ENDPOINT, P256DH, keys_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import Offered, OfferParameters

_SUBSCRIPTION: Final = (ENDPOINT, P256DH, AUTH)


def checked(channel: str, parameters: OfferParameters, settings: WebPushSettings) -> Offered:
    """The subscription, normalised. Raises Refusal (invalid) for anything else."""
    endpoint = checked_offer(channel, parameters, _SUBSCRIPTION, ENDPOINT, settings)
    keys = keys_of(parameters)
    if isinstance(keys, str):
        raise Refusal(
            ErrorCode.INVALID,
            f"offer the key {keys} of the subscription as base64url",
            field=f"parameters.{keys}",
        )
    return Offered(parameters={ENDPOINT: endpoint, **keys.parameters()}, address=endpoint)
