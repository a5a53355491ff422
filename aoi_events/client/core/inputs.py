"""What can happen to an AOI Client."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from aoi_events.client.core.model import Network
from aoi_events.client.core.state import AckCode
from aoi_events.contracts.device import ServerFrame
from aoi_events.contracts.requests import ChannelOffer

__all__ = [
    "ApplicationAsked",
    "ApplicationLeft",
    "ApplicationStopped",
    "Closed",
    "CodeEntered",
    "Handled",
    "IdentityChanged",
    "Input",
    "NetworkChanged",
    "OffersChanged",
    "Opened",
    "PushArrived",
    "Received",
    "ReconnectAsked",
    "ShortMessage",
    "ShortMessageArrived",
    "Started",
    "Unanswered",
]


@dataclass(frozen=True, slots=True)
class ShortMessage:
    """A short message as it arrived: the user data, header first, and the address of its sender.

    The sender tells parts of pushes that have the same reference apart; "" where the device does
    not know it.
    """

    user_data: bytes = field(repr=False)
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The AOI Client starts (installation, or any later start)."""


@dataclass(frozen=True, slots=True)
class ApplicationAsked:
    """An app instance runs and asks for notifications (8.1.3); ``sender_key``: None as it was."""

    application: str
    instance: str
    sender_key: str | None = None


@dataclass(frozen=True, slots=True)
class ApplicationStopped:
    """An app instance does not run any more; its registration stands."""

    key: str


@dataclass(frozen=True, slots=True)
class ApplicationLeft:
    """An app instance gives its registration up."""

    key: str


@dataclass(frozen=True, slots=True)
class IdentityChanged:
    """Another user has the device (8.1.1), or there is a newer assertion of who has it."""

    identity: str
    assertion: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """The network is another one, or has other properties (8.1.2)."""

    network: Network


@dataclass(frozen=True, slots=True)
class OffersChanged:
    """The device can use other channels, or the same in another way (8.1.2)."""

    offers: tuple[ChannelOffer, ...]


@dataclass(frozen=True, slots=True)
class CodeEntered:
    """A person read the code of a challenge that came over a channel of people, and typed it."""

    channel: str
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReconnectAsked:
    """Connect now, whatever held it back."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The socket of that generation is open."""

    generation: int


@dataclass(frozen=True, slots=True)
class Received:
    """The server sent a frame."""

    generation: int
    frame: ServerFrame


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection ended, or could not be made."""

    generation: int
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer to the request came in time, though the connection stands."""

    generation: int
    id: int


@dataclass(frozen=True, slots=True)
class ShortMessageArrived:
    """A short message; ``at`` is when, so that its parts need not wait for ever."""

    message: ShortMessage
    at: datetime


@dataclass(frozen=True, slots=True)
class PushArrived:
    """What was pushed over a channel, opened: a Web Push or a webhook."""

    channel: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a notification that an app instance was given."""

    delivery: str
    code: AckCode


Input: TypeAlias = (
    Started
    | ApplicationAsked
    | ApplicationStopped
    | ApplicationLeft
    | IdentityChanged
    | NetworkChanged
    | OffersChanged
    | CodeEntered
    | ReconnectAsked
    | Opened
    | Received
    | Closed
    | Unanswered
    | ShortMessageArrived
    | PushArrived
    | Handled
)
