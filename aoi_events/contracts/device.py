"""The device protocol ``aoi.v1``: JSON text frames over a WebSocket with subprotocol ``aoi.v1``.

It carries the same contracts as the broker does: a frame ``request`` holds a request body without a
secret (the session has proved it), a frame ``answer`` holds the answer.

A device opens the connection and sends ``hello`` (or, while it has no AOI Client ID, sends one
``request`` named ``client.register`` first). It receives ``welcome``, and from then on
``notification`` frames, each of which it acknowledges with ``ack``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from aoi_events.contracts.answers import UnselectedChannel
from aoi_events.contracts.base import BUILT_WHEN_USED, Contract, Instant, Tolerant
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ChannelType,
    ClientId,
    ClientSecret,
    DeliveryId,
    NotificationId,
    SessionText,
    TokenText,
    Urgency,
)

SUBPROTOCOL: Final = "aoi.v1"
MAX_FRAME: Final = 32 * 1024
"""Largest frame in octets, in both directions: 4 KiB of content fit even where JSON writes each
octet as six characters."""

DEVICE_REQUESTS: Final = frozenset(
    {
        "client.register",
        "client.deregister",
        "application.register",
        "application.deregister",
        "channel.activate",
        "channel.confirm",
        "channel.deactivate",
        "notification.fetch",
    }
)
"""Requests that a device may make over its connection."""


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455, section 7.4.2: 4000 to 4999 are ours)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED = 1003
    """A binary frame; there are none."""
    TOO_BIG = 1009
    SERVICE_RESTART = 1012
    TRY_LATER = 1013
    BAD_FRAME = 4400
    UNAUTHENTICATED = 4401
    NO_HELLO = 4408
    REPLACED = 4409
    """Another connection of this client took over; do not reconnect because of it."""
    RETIRED = 4410
    """The AOI Client ID ended; register again."""
    TOO_SLOW = 4411
    """The device did not read what was sent to it."""
    TOO_MANY = 4429


class HelloFrame(Contract):
    """The first frame of a registered client: who connects.

    ``heard`` is the ``session`` of the last welcome in which the device received a ``lost`` count,
    empty for none: a device that sends it receives again the count of a later welcome that it
    missed.
    """

    type: Literal["hello"] = "hello"
    client: ClientId
    secret: ClientSecret
    heard: SessionText | None = None


class RequestFrame(Contract):
    """A request; ``id`` is chosen by the device and returned in the answer."""

    type: Literal["request"] = "request"
    id: Annotated[int, Field(ge=0, le=2**53 - 1)]
    name: Annotated[str, Field(max_length=64)]
    body: dict[str, Any]


class AckFrame(Contract):
    """The outcome of a delivery on the device. ``channel`` is the one that it came over.

    ``delivered``: the app instance has it. ``no_such_application``: the token's app is gone.
    ``could_not_wake``: the app does not run and could not be started now.
    """

    type: Literal["ack"] = "ack"
    delivery: DeliveryId
    code: Literal["delivered", "no_such_application", "could_not_wake"] = "delivered"
    attempt: Annotated[int, Field(ge=1)] | None = None
    channel: ChannelType | None = None


class WelcomeFrame(Tolerant):
    """The session is open. ``ping_every``: seconds between the server's pings.

    ``sequence`` is the highest that the client has used for its channel set; ``closed`` are
    channels that the server closed since the last contact. ``lost``: the number of notifications
    that did not fit the client's backlog since then; its apps should ask their servers what they
    missed.
    """

    type: Literal["welcome"] = "welcome"
    client: ClientId
    session: str
    epoch: int
    sequence: int
    ping_every: float
    closed: Annotated[tuple[UnselectedChannel, ...], Field(strict=False)] = ()
    lost: Annotated[int, Field(ge=0)] = 0


class AnswerFrame(Tolerant):
    """The answer to the request of that ``id``; ``name`` is its contract (``refused.v1``, …)."""

    type: Literal["answer"] = "answer"
    id: int
    name: str
    body: dict[str, Any]


class NotificationFrame(Tolerant):
    """A notification for the app instance of ``token`` (8.1.4)."""

    type: Literal["notification"] = "notification"
    delivery: DeliveryId
    attempt: int
    notification: NotificationId
    token: TokenText
    application: str
    instance: str
    content: Content
    urgency: Annotated[Urgency, Field(strict=False)]
    expires_at: Instant


class WakeUpFrame(Tolerant):
    """A notification larger than the device asked for (``largest_content`` of its offer).

    The device asks for the content with ``notification.fetch``, and acknowledges as usual.
    """

    type: Literal["wake_up"] = "wake_up"
    delivery: DeliveryId
    attempt: int
    notification: NotificationId
    token: TokenText
    application: str
    instance: str
    urgency: Annotated[Urgency, Field(strict=False)]
    expires_at: Instant


class GoodbyeFrame(Tolerant):
    """Why the server is about to close the connection; ``code`` as in the close frame."""

    type: Literal["goodbye"] = "goodbye"
    code: int
    message: str


DeviceFrame = HelloFrame | RequestFrame | AckFrame
ServerFrame = WelcomeFrame | AnswerFrame | NotificationFrame | WakeUpFrame | GoodbyeFrame

device_frames: TypeAdapter[DeviceFrame] = TypeAdapter(
    Annotated[DeviceFrame, Field(discriminator="type")], config=BUILT_WHEN_USED
)
"""Reads what a device sent."""
server_frames: TypeAdapter[ServerFrame] = TypeAdapter(
    Annotated[ServerFrame, Field(discriminator="type")], config=BUILT_WHEN_USED
)
"""Reads what a server sent."""
