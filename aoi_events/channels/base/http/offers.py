"""Check of an offer that contains a URL. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.http.urls import BadUrl, checked_url
from aoi_events.channels.base.offers import only
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import OfferParameters


def checked_offer(
    channel: str,
    parameters: OfferParameters,
    names: Sequence[str],
    url_name: str,
    settings: OutgoingSettings,
) -> str:
    """The normalised URL of an offer that has no parameters but ``names``.

    Raises Refusal (invalid) with a text that names what to offer instead, and never repeats the
    URL.
    """
    only(channel, parameters, *names)
    url = parameters.get(url_name)
    try:
        return checked_url(url if isinstance(url, str) else "", settings)
    except BadUrl as error:
        raise Refusal(ErrorCode.INVALID, f"{error}", field=f"parameters.{url_name}") from None
