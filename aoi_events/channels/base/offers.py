"""Checks of the parameters that devices offer for a channel. Pure."""

from __future__ import annotations

import re

from aoi_events.domain.clients.channels import Parameters
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import OfferParameters


def only(channel: str, parameters: OfferParameters, *names: str) -> None:
    """Raise Refusal (invalid) for a parameter that the channel does not have."""
    for name in sorted(set(parameters) - set(names)):
        has = f"the parameters {', '.join(names)}" if names else "no parameters"
        raise Refusal(
            ErrorCode.INVALID,
            f"the channel {channel} has {has}; leave this one out",
            field=f"parameters.{name}",
        )


def texts(channel: str, parameters: OfferParameters, **patterns: str) -> Parameters:
    """The parameters of an offer: exactly these, each a text that its regular expression matches
    as a whole.

    Raises Refusal (invalid) with a text that names what to offer instead, and never repeats what
    was offered.
    """
    only(channel, parameters, *patterns)
    for name, pattern in patterns.items():
        value = parameters.get(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            message = f"offer {name} as text that matches {pattern}"
            raise Refusal(ErrorCode.INVALID, message, field=f"parameters.{name}")
    return dict(parameters)
