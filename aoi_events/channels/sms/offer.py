"""Check of a device's offer of its telephone number. Pure."""

from __future__ import annotations

from typing import Final

from aoi_events.channels.base.offers import only
from aoi_events.channels.sms.numbers import normalised
from aoi_events.channels.sms.routing import routes
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import Offered, OfferParameters

NUMBER: Final = "msisdn"
"""The parameter that contains the telephone number, ``+`` and digits (E.164)."""


def checked(channel: str, parameters: OfferParameters, settings: SmsSettings) -> Offered:
    """The offer with its telephone number normalised, which an SMSC must take.

    Raises Refusal (invalid) for anything else.
    """
    only(channel, parameters, NUMBER)
    offered = parameters.get(NUMBER)
    number = normalised(offered) if isinstance(offered, str) else None
    if number is None:
        why = "offer the telephone number in international form as text: + and 7 to 15 digits"
    elif settings.providers and not routes(number, settings.providers):
        why = "no SMSC of this server takes numbers that begin like this one: offer another number"
    else:
        return Offered(parameters={NUMBER: number}, address=number)
    raise Refusal(ErrorCode.INVALID, why, field=f"parameters.{NUMBER}")
