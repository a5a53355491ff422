"""What a decision asks for; whoever carries it out chooses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.state import Stored
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import DeviceFrame
from aoi_events.contracts.identifiers import Urgency

__all__ = [
    "Close",
    "Deliver",
    "Effect",
    "Listen",
    "Notification",
    "Open",
    "Send",
    "Store",
    "Tell",
]


@dataclass(frozen=True, slots=True)
class Notification:
    """What an app instance is given.

    ``notification`` (the sender's ID), ``urgency`` and ``expires_at`` are None where the channel
    does not carry them.
    """

    delivery: str
    application: str
    instance: str
    content: Content
    channel: str
    notification: str | None = None
    urgency: Urgency | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Save this durably before anything else of the decision happens."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Open:
    """Connect, after a pause that grows with ``failures`` (none for 0), or a long one when another
    connection of the client took over (``replaced``).
    """

    generation: int
    failures: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, or the attempt to make one."""

    generation: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame over the present connection."""

    generation: int
    frame: DeviceFrame


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give a notification to its app instance: by its handler, or (``wake``) by waking it."""

    notification: Notification
    wake: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Do what a selected channel needs on the device, for example read short messages (8.1.2)."""

    channel: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell whoever watches."""

    event: ClientEvent


Effect: TypeAlias = Store | Open | Close | Send | Deliver | Listen | Tell
