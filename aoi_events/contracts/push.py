"""The body of a push: JSON, as the body of a webhook or the plaintext of a Web Push.

The same as the frames of ``aoi.v1`` (``notification``, ``wake_up``), but a push passes through more
systems than a connection: it names the token by its fingerprint. A challenge comes this way, too;
its code goes back in ``channel.confirm``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, TypeAdapter

from aoi_events.contracts.base import BUILT_WHEN_USED, Instant, Tolerant, VersionOne
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ApplicationName,
    ChannelType,
    DeliveryId,
    Fingerprint,
    InstanceName,
    NotificationId,
    Urgency,
)

MAX_PUSH: Final = 32 * 1024
"""Largest push in octets: 4 KiB of content fit even where JSON writes each octet as six
characters."""


class _Pushed(Tolerant):
    """Fields of both pushes; ``notification``, ``application`` and ``instance`` are left out when
    room is short.
    """

    version: VersionOne = 1
    delivery: DeliveryId
    attempt: Annotated[int, Field(ge=1)]
    fingerprint: Fingerprint
    urgency: Annotated[Urgency, Field(strict=False)]
    expires_at: Instant
    notification: NotificationId | None = None
    application: ApplicationName | None = None
    instance: InstanceName | None = None


class PushedNotification(_Pushed):
    """A notification for the app instance whose token has this fingerprint (8.1.4)."""

    type: Literal["notification"] = "notification"
    content: Content


class PushedWakeUp(_Pushed):
    """A notification that is too large for this channel; fetch it with ``notification.fetch``."""

    type: Literal["wake_up"] = "wake_up"


class PushedChallenge(Tolerant):
    """A challenge: its ``code``, sent back in ``channel.confirm``, proves that the device receives
    at the address.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"code"})

    version: VersionOne = 1
    type: Literal["challenge"] = "challenge"
    channel: ChannelType
    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{6,32}$")]
    expires_at: Instant


PushFrame = PushedNotification | PushedWakeUp | PushedChallenge

push_frames: TypeAdapter[PushFrame] = TypeAdapter(
    Annotated[PushFrame, Field(discriminator="type")], config=BUILT_WHEN_USED
)
"""Reads what a push carried."""
