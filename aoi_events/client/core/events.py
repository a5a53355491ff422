"""Events that an AOI Client publishes; they contain no secrets, tokens or content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aoi_events.client.core.state import AckCode
from aoi_events.contracts.answers import UnselectedChannel


@dataclass(frozen=True, slots=True)
class RegistrationStarted:
    """A registration with a new secret begins, for ``identity`` (8.1.1)."""

    identity: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The server assigned ``client``; ``retired`` is the earlier ID, which ended."""

    client: str
    retired: str | None


@dataclass(frozen=True, slots=True)
class ApplicationRegistered:
    """The app instance has a token with this fingerprint; ``changed``: it is another token."""

    application: str
    instance: str
    fingerprint: str
    changed: bool


@dataclass(frozen=True, slots=True)
class ApplicationDeregistered:
    """The server confirmed that the app instance's token ended."""

    application: str
    instance: str


@dataclass(frozen=True, slots=True)
class Activated:
    """The channels that the server selected (8.1.2), and why it did not select the others.

    The ``reason`` of the others is a ``CloseReason``, or a reason of a newer server.
    """

    active: tuple[str, ...]
    pending: tuple[str, ...]
    not_selected: tuple[UnselectedChannel, ...]


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The server closed a channel while the client was not connected.

    ``reason`` is a ``CloseReason``, or a reason of a newer server;
    ``detail`` is the text of the provider.
    """

    type: str
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ChallengeReceived:
    """A challenge came over a channel; its code is sent with ``channel.confirm``."""

    channel: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is open."""

    client: str
    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class NotificationsLost:
    """The server dropped ``count`` notifications, more than it stores for a disconnected client.

    It does not say for which apps: every app should ask its Application Server what it missed.
    """

    count: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made; ``code`` is the WebSocket close code, if any.

    ``reconnecting``: the client connects again by itself; that takes minutes after code 4409
    (another connection of this client took over). ``opened``: the connection was open before.
    """

    code: int | None
    reason: str
    reconnecting: bool
    opened: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused the request ``name`` about ``about`` (an app instance, a delivery, …)."""

    name: str
    about: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NotificationReceived:
    """A notification came over ``channel`` and goes to its app instance (8.1.4)."""

    delivery: str
    application: str
    instance: str
    channel: str
    woken: bool


@dataclass(frozen=True, slots=True)
class NotificationAcknowledged:
    """A delivery is acknowledged; ``resend``: (also) after the next welcome."""

    delivery: str
    code: AckCode
    channel: str
    resend: bool


@dataclass(frozen=True, slots=True)
class DuplicateDropped:
    """A delivery came again; the app instance does not get it twice."""

    delivery: str
    channel: str


@dataclass(frozen=True, slots=True)
class WakeUpReceived:
    """A wake-up came; its content is fetched as soon as there is a connection."""

    delivery: str
    channel: str


@dataclass(frozen=True, slots=True)
class WakeUpEnded:
    """The content of a wake-up cannot be fetched any more; ``code`` is the reason."""

    delivery: str
    code: str


@dataclass(frozen=True, slots=True)
class ShortMessageIgnored:
    """A short message came that is not a push for this AOI Client."""

    reason: str


@dataclass(frozen=True, slots=True)
class PartsDropped:
    """``count`` parts of pushes were given up: the others did not come, or there were too many."""

    count: int


@dataclass(frozen=True, slots=True)
class PushIgnored:
    """A push came that is not for this AOI Client."""

    channel: str
    reason: str


ClientEvent: TypeAlias = (
    RegistrationStarted
    | Registered
    | ApplicationRegistered
    | ApplicationDeregistered
    | Activated
    | ChannelClosed
    | ChallengeReceived
    | Connected
    | NotificationsLost
    | Disconnected
    | Refused
    | NotificationReceived
    | NotificationAcknowledged
    | DuplicateDropped
    | WakeUpReceived
    | WakeUpEnded
    | PartsDropped
    | PushIgnored
    | ShortMessageIgnored
)
"""Any event of an AOI Client."""
