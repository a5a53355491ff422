"""Effects: what the shell has to do after a transition, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.state import StoredState
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import DeviceFrame
from aoi_events.contracts.identifiers import Urgency


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification for an app instance.

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
class Save:
    """Save the stored state durably, before the other effects."""

    stored: StoredState


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect after a pause, which grows with ``failures`` (none for 0).

    ``replaced``: another connection of the client took over, so the pause is long.
    """

    generation: int
    failures: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection, or the attempt to make one."""


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send a frame over the present connection."""

    generation: int
    frame: DeviceFrame


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver a notification to its app instance: by its handler, or (``wake``) by waking it."""

    notification: Notification
    wake: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Start to read the messages of a selected channel, for example short messages (8.1.2)."""

    channel: str


@dataclass(frozen=True, slots=True)
class OfferLater:
    """Report after a pause that channels are to be offered again; an earlier pause is over.

    The pause grows with ``repeats``, the number of pauses before it.
    """

    number: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish an event to the event streams of the client."""

    event: ClientEvent


Effect: TypeAlias = Save | Connect | Disconnect | SendFrame | Deliver | Listen | OfferLater | Emit
