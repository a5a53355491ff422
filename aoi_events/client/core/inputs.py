"""Inputs: everything that can happen to an AOI Client."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from aoi_events.client.core.model import Network
from aoi_events.client.core.state import AckCode
from aoi_events.contracts.device import ServerFrame
from aoi_events.contracts.requests import ChannelOffer


@dataclass(frozen=True, slots=True)
class ShortMessage:
    """A short message as it arrived: the user data, header first, and the address of its sender.

    ``sender`` distinguishes parts of pushes that have the same reference; "" if it is not known.
    """

    user_data: bytes = field(repr=False)
    sender: str = ""


@dataclass(frozen=True, slots=True)
class ClientStarted:
    """The AOI Client starts, for the first time or again."""


@dataclass(frozen=True, slots=True)
class ApplicationStarted:
    """An app instance runs and wants notifications (8.1.3); ``sender_key`` None: unchanged."""

    application: str
    instance: str
    sender_key: str | None = None


@dataclass(frozen=True, slots=True)
class ApplicationStopped:
    """An app instance does not run any more, and stays registered."""

    key: str


@dataclass(frozen=True, slots=True)
class ApplicationRemoved:
    """An app instance ends its registration."""

    key: str


@dataclass(frozen=True, slots=True)
class IdentityChanged:
    """Another user uses the device (8.1.1), or there is a newer assertion of the identity."""

    identity: str
    assertion: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """The network, or a property of it, changed (8.1.2)."""

    network: Network


@dataclass(frozen=True, slots=True)
class OffersChanged:
    """The channels that the device can use changed (8.1.2)."""

    offers: tuple[ChannelOffer, ...]


@dataclass(frozen=True, slots=True)
class CodeEntered:
    """The user typed the code of a challenge, which came over a channel that only people read."""

    channel: str
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OfferDue:
    """The pause of this number is over: offer channels again that are not active (8.1.2)."""

    number: int


@dataclass(frozen=True, slots=True)
class ReconnectRequested:
    """Connect now, without the rest of a pause."""


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """The connection of this generation is open."""

    generation: int


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The server sent a frame."""

    generation: int
    frame: ServerFrame


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection of this generation ended, or could not be made."""

    generation: int
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """A request got no answer in time; the connection may still be open."""

    generation: int
    id: int


@dataclass(frozen=True, slots=True)
class ShortMessageArrived:
    """A short message came; by the time ``at``, old parts of pushes are given up."""

    message: ShortMessage
    at: datetime


@dataclass(frozen=True, slots=True)
class PushArrived:
    """A push came over a channel: the plaintext of a Web Push, or the body of a webhook."""

    channel: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotificationHandled:
    """An app instance handled a notification, or could not (``code``)."""

    delivery: str
    code: AckCode


Input: TypeAlias = (
    ClientStarted
    | ApplicationStarted
    | ApplicationStopped
    | ApplicationRemoved
    | IdentityChanged
    | NetworkChanged
    | OffersChanged
    | CodeEntered
    | OfferDue
    | ReconnectRequested
    | ConnectionOpened
    | FrameReceived
    | ConnectionClosed
    | RequestTimedOut
    | ShortMessageArrived
    | PushArrived
    | NotificationHandled
)
