"""Notification channels, one folder each, and what a channel of your own is written with."""

from aoi_events.channels.base.offers import texts
from aoi_events.channels.base.requests import CannotSend, Item, RequestChannel
from aoi_events.channels.base.results import Verdict
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.domain.providers.breaker import BreakerPolicy
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
from aoi_events.ports.channel import ChannelPlugin, ConnectionlessChannel, Offered, OfferParameters

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
