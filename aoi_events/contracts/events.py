"""The events: CloudEvents 1.0 in structured JSON mode, on the exchange ``aoi.events``.

The routing key is the event's kind and, last, the broker user who asked for what happened
(``notification.delivered.shop``), with ``.`` in its name written ``%2E``: for a delivery, the
sender of the notification; for a client, an app instance or a channel, the user who made the
request (a gateway, for requests of devices over their connection). Events without a request, such
as a channel that its provider found dead, end in :data:`NOBODY`. So permissions can restrict who
binds what. Events carry fingerprints of tokens, never tokens. An event's ``id`` follows from what
happened, so that a repeat can be recognised.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from aoi_events.contracts.base import Instant, Tolerant
from aoi_events.contracts.identifiers import ChannelType, ClientId, DeliveryId, Fingerprint
from aoi_events.contracts.states import DeliveryState, Evidence

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


NOBODY: Final = "%"
"""Last word of the routing key of events that no user asked for; no user's name is written so."""


class ClientChanged(Tolerant):
    """``client.*``: an AOI Client was registered, refreshed, reassigned, deregistered, or its
    registration expired unused.
    """

    about: Literal["client"] = "client"
    client: ClientId
    replaced_by: ClientId | None = None


class ApplicationChanged(Tolerant):
    """``application.*``: a token was issued or revoked."""

    about: Literal["application"] = "application"
    client: ClientId
    application: str
    instance: str
    fingerprint: Fingerprint
    reason: str | None = None


class ChannelChanged(Tolerant):
    """``channel.*``: a channel became active or pending, or was closed.

    ``reason``: why it ended, a :class:`~aoi_events.contracts.states.CloseReason` or one of a newer
    version. ``detail``: the words of the channel or its provider, for people.
    """

    about: Literal["channel"] = "channel"
    client: ClientId
    channel: ChannelType
    reason: str | None = None
    detail: str | None = None


class NotificationAccepted(Tolerant):
    """``notification.accepted``: the numbers of deliveries that were ``accepted`` and of tokens
    that were ``rejected``.
    """

    about: Literal["notification"] = "notification"
    notification: str
    accepted: int
    rejected: int
    expires_at: Instant


class DeliveryChanged(Tolerant):
    """``notification.stored|delivered|failed|expired|replaced|cancelled``: the new state of one
    delivery.

    ``supersedes`` is the terminal state that this one corrects.
    """

    about: Literal["delivery"] = "delivery"
    notification: str
    delivery: DeliveryId
    fingerprint: Fingerprint
    application: str
    state: Annotated[DeliveryState, Field(strict=False)]
    by: Annotated[Evidence | None, Field(strict=False)] = None
    channel: ChannelType | None = None
    reason: str | None = None
    supersedes: Annotated[DeliveryState | None, Field(strict=False)] = None


EventData = Annotated[
    ClientChanged | ApplicationChanged | ChannelChanged | NotificationAccepted | DeliveryChanged,
    Field(discriminator="about"),
]

EVENT_KINDS: Final = (
    "client.registered",
    "client.refreshed",
    "client.reassigned",
    "client.deregistered",
    "client.expired",
    "application.registered",
    "application.revoked",
    "channel.activated",
    "channel.pending",
    "channel.closed",
    "notification.accepted",
    "notification.stored",
    "notification.delivered",
    "notification.failed",
    "notification.expired",
    "notification.replaced",
    "notification.cancelled",
)
"""Every kind of event; ``type`` is ``aoi.<kind>.v1``."""


class CloudEvent(Tolerant):
    """The CloudEvents envelope (CloudEvents 1.0, sections 3.1 and 3.2; JSON format 1.0,
    section 3).
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "/aoi-events"
    type: str
    subject: str | None = None
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    data: EventData

    @property
    def kind(self) -> str:
        """``type`` without prefix and version, for example ``notification.delivered``."""
        return self.type.removeprefix("aoi.").removesuffix(".v1")


def event_routing_key(kind: str, sender: str) -> str:
    """The routing key of an event: ``kind``, and the sender as one last word. All but letters,
    digits, ``-``, ``_`` is escaped.

    So neither a dot nor a wildcard of topic patterns (``*``, ``#``) can stand in it.
    """
    return f"{kind}.{sender if sender == NOBODY else user_word(sender)}"


def user_word(user: str) -> str:
    """A broker user's name as one word of a routing key or of a queue's name."""
    return _UNSAFE.sub(_escaped, user)


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{octet:02X}" for octet in match[0].encode())
