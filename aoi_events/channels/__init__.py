"""Notification channels, one folder each, and what a channel of your own is written with.

Names are loaded when they are first used: settings need the plug-ins of all channels, not the code
that sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aoi_events.platform.lazy_names import lazy_names

if TYPE_CHECKING:
    from aoi_events.channels.base.offers import texts
    from aoi_events.channels.base.requests import CannotSend, Item, RequestChannel
    from aoi_events.channels.base.results import Verdict
    from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
    from aoi_events.domain.clients.channels import ChannelTraits, Parameters
    from aoi_events.domain.providers.breaker import BreakerPolicy
    from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
    from aoi_events.ports.channel import (
        ChannelPlugin,
        ConnectionlessChannel,
        Offered,
        OfferParameters,
    )

__all__ = [
    "BreakerPolicy",
    "CannotSend",
    "ChallengeItem",
    "ChannelPlugin",
    "ChannelTraits",
    "ConfigurationError",
    "ConnectionlessChannel",
    "DeliverItem",
    "ErrorCode",
    "Item",
    "OfferParameters",
    "Offered",
    "OutcomeKind",
    "Parameters",
    "Refusal",
    "RequestChannel",
    "Verdict",
    "texts",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BreakerPolicy": "aoi_events.domain.providers.breaker",
        "CannotSend": "aoi_events.channels.base.requests",
        "ChallengeItem": "aoi_events.contracts.envelopes",
        "ChannelPlugin": "aoi_events.ports.channel",
        "ChannelTraits": "aoi_events.domain.clients.channels",
        "ConfigurationError": "aoi_events.errors",
        "ConnectionlessChannel": "aoi_events.ports.channel",
        "DeliverItem": "aoi_events.contracts.envelopes",
        "ErrorCode": "aoi_events.errors",
        "Item": "aoi_events.channels.base.requests",
        "OfferParameters": "aoi_events.ports.channel",
        "Offered": "aoi_events.ports.channel",
        "OutcomeKind": "aoi_events.contracts.envelopes",
        "Parameters": "aoi_events.domain.clients.channels",
        "Refusal": "aoi_events.errors",
        "RequestChannel": "aoi_events.channels.base.requests",
        "Verdict": "aoi_events.channels.base.results",
        "texts": "aoi_events.channels.base.offers",
    },
)
