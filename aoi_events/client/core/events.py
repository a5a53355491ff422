"""What an AOI Client tells whoever watches it; values without secrets, tokens or content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aoi_events.client.core.state import AckCode
from aoi_events.contracts.answers import UnselectedChannel

__all__ = [
    "Activated",
    "ApplicationDeregistered",
    "ApplicationRegistered",
    "ChallengeReceived",
    "ChannelClosed",
    "ClientEvent",
    "Connected",
    "Disconnected",
    "DuplicateDropped",
    "NotificationAcknowledged",
    "NotificationReceived",
    "NotificationsLost",
    "PartsDropped",
    "PushIgnored",
    "Refused",
    "Registered",
    "RegistrationStarted",
    "ShortMessageIgnored",
    "WakeUpEnded",
    "WakeUpReceived",
]


@dataclass(frozen=True, slots=True)
class RegistrationStarted:
    """A registration with a new secret begins, for ``identity`` (8.1.1)."""

    identity: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The server assigned ``client``; ``retired`` is the earlier ID that ended by it."""

    client: str
    retired: str | None


@dataclass(frozen=True, slots=True)
class ApplicationRegistered:
    """The app instance has a token of this fingerprint; ``changed``: it is not the one before."""

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
    """The channels that the server selected (8.1.2), and why each other one was not.

    The ``reason`` of those not selected is a ``CloseReason``, or one of a newer server.
    """

    active: tuple[str, ...]
    pending: tuple[str, ...]
    not_selected: tuple[UnselectedChannel, ...]


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The server closed a channel while nobody was connected.

    ``reason`` is a ``CloseReason``, or one of a newer server; ``detail`` is what the provider said.
    """

    type: str
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ChallengeReceived:
    """A challenge came over a channel; its code goes back in ``channel.confirm``."""

    channel: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is open."""

    client: str
    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class NotificationsLost:
    """So many notifications did not fit what the server keeps for this client while it was away.

    Nobody knows whose they were: every app should ask its Application Server what it missed.
    """

    count: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made; ``code`` is the WebSocket close code, if any.

    ``reconnecting``: the client connects again by itself; that takes minutes after code 4409
    (another connection of this client took over).
    """

    code: int | None
    reason: str
    reconnecting: bool


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
    """What became of a delivery; ``kept``: the server is told (again) at the next welcome."""

    delivery: str
    code: AckCode
    channel: str
    kept: bool


@dataclass(frozen=True, slots=True)
class DuplicateDropped:
    """The delivery came again; the app instance does not see it twice."""

    delivery: str
    channel: str


@dataclass(frozen=True, slots=True)
class WakeUpReceived:
    """A wake-up came; the content behind it is fetched as soon as there is a connection."""

    delivery: str
    channel: str


@dataclass(frozen=True, slots=True)
class WakeUpEnded:
    """There is no content behind the wake-up any more (``code`` says why)."""

    delivery: str
    code: str


@dataclass(frozen=True, slots=True)
class ShortMessageIgnored:
    """A short message that is no push for this AOI Client."""

    reason: str


@dataclass(frozen=True, slots=True)
class PartsDropped:
    """So many parts of pushes were given up: the others never came, or there were too many."""

    count: int


@dataclass(frozen=True, slots=True)
class PushIgnored:
    """A push that is none for this AOI Client."""

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
