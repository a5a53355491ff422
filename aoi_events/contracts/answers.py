"""The answers to requests. The AMQP property ``type`` names the answer's contract."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from aoi_events.contracts.base import Answer, Instant, Tolerant
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ChannelType,
    ClientId,
    DeliveryId,
    Fingerprint,
    NotificationId,
    SessionName,
    TokenText,
    Urgency,
)
from aoi_events.contracts.states import DeliveryState, Evidence


class RefusedV1(Answer):
    """The request was refused. ``code`` is stable, ``message`` says what to do about it."""

    code: str
    message: str
    field: str | None = None


class ClientRegisteredV1(Answer):
    """The client is registered: the AOI Client ID to use in later requests (8.2.1)."""

    client: ClientId
    retired: ClientId | None = None
    """The earlier AOI Client ID, when this registration ended it."""


class ClientDeregisteredV1(Answer):
    """The AOI Client ID ended, with its tokens and channels."""

    client: ClientId


class ApplicationRegisteredV1(Answer):
    """The Application Client Token of an app instance; the same one on every repeat.

    ``applied`` is false when an older ``sequence`` changed nothing: ``sequence`` is then the
    stored one, above which the client goes on; ``token`` is the one now valid, if any.
    """

    token: TokenText | None = None
    sequence: int
    applied: bool = True


class ApplicationDeregisteredV1(Answer):
    """The token ended (or had ended before)."""

    sequence: int
    applied: bool = True


class UnselectedChannel(Tolerant):
    """A channel that was offered or in use and is not used now, and why.

    ``reason`` is a :class:`~aoi_events.contracts.states.CloseReason`, or one of a newer version.
    ``detail``: the words of the channel or its provider, for people.
    """

    type: ChannelType
    reason: str
    detail: str | None = None


class ChannelsActivatedV1(Answer):
    """The selected channels (8.2.2), best first, and why the others were not selected."""

    sequence: int
    applied: bool = True
    selected: Annotated[tuple[SelectedChannel, ...], Field(strict=False)]
    not_selected: Annotated[tuple[UnselectedChannel, ...], Field(strict=False)] = ()


class AcceptedDelivery(Tolerant):
    """A token that was accepted; ``index`` is its place in the request."""

    index: int
    delivery: DeliveryId


class RejectedToken(Tolerant):
    """A token that was rejected, and why; ``index`` is its place in the request."""

    index: int
    fingerprint: Fingerprint
    code: str
    message: str


class NotificationAcceptedV1(Answer):
    """The notification is accepted: each of ``deliveries`` will reach exactly one
    terminal state.

    Without ``deliveries`` every token was rejected: nothing is stored, ``expires_at`` is absent,
    and a request with the same ID is judged anew.
    """

    notification: NotificationId
    expires_at: Instant | None = None
    deliveries: Annotated[tuple[AcceptedDelivery, ...], Field(strict=False)]
    rejected: Annotated[tuple[RejectedToken, ...], Field(strict=False)] = ()


class AllRejectedV1(RefusedV1):
    """No token was accepted: nothing was sent, and the ID of the notification is free again.

    The refusal of a request to send, with the code and message for each token.
    """

    notification: NotificationId
    rejected: tuple[RejectedToken, ...]


class NotificationCancelledV1(Answer):
    """The notification is cancelled: ``cancelled`` deliveries were withdrawn, ``settled`` ones had
    ended before.
    """

    notification: NotificationId
    cancelled: int
    settled: int


class Hop(Tolerant):
    """One line of a delivery's story. ``cost``: what the message cost when it was sent."""

    at: Instant
    what: str
    channel: ChannelType | None = None
    step: int | None = None
    attempt: int | None = None
    detail: str | None = None
    cost: float | None = None


class DeliveryStatus(Tolerant):
    """The state of a delivery, and its story so far.

    ``channel``: the channel that delivered it. ``cost``: of the messages sent, in the operator's
    unit; a message that no provider took costs nothing.
    """

    delivery: DeliveryId
    fingerprint: Fingerprint
    state: Annotated[DeliveryState, Field(strict=False)]
    by: Annotated[Evidence | None, Field(strict=False)] = None
    channel: ChannelType | None = None
    cost: float = 0.0
    reason: str | None = None
    accepted_at: Instant
    expires_at: Instant
    settled_at: Instant | None = None
    story: Annotated[tuple[Hop, ...], Field(strict=False)] = ()


MAX_STORIES: Final = 20
"""Deliveries whose stories one answer has at most: those of 1,000 would take 5 MB."""


class NotificationStatusV1(Answer):
    """The state of each delivery of a notification.

    ``stories`` is false when there are more than :data:`MAX_STORIES` deliveries: their stories are
    left out, and ``notification.status`` with ``delivery`` returns the story of one.
    """

    notification: NotificationId
    deliveries: Annotated[tuple[DeliveryStatus, ...], Field(strict=False)]
    stories: bool = True


class NotificationContentV1(Answer):
    """The content that a device fetches after a wake-up."""

    delivery: DeliveryId
    notification: NotificationId
    token: TokenText
    content: Content
    urgency: Annotated[Urgency, Field(strict=False)]
    expires_at: Instant


class ClientConnectedV1(Answer):
    """To a gateway: the session is now the only one of its client.

    ``sequence`` is the highest the client has used, for clients that cannot count; ``closed`` are
    channels that the server closed since the last contact, with the reason. ``lost`` counts
    notifications that failed as *backlog_full* since then; only one session receives that count.
    """

    client: ClientId
    epoch: int
    sequence: int
    closed: Annotated[tuple[UnselectedChannel, ...], Field(strict=False)] = ()
    lost: Annotated[int, Field(ge=0)] = 0


class ConfirmedSession(Tolerant):
    """A session that goes on under ``epoch``, or (``code``) was refused."""

    session: SessionName
    epoch: int | None = None
    code: str | None = None


class SessionsConfirmedV1(Answer):
    """To a gateway: the sessions of its request that are not as it named them; often none."""

    changed: Annotated[tuple[ConfirmedSession, ...], Field(strict=False)]


class ClientDisconnectedV1(Answer):
    """To a gateway: presence of that epoch ended (or had ended before)."""

    client: ClientId


AnyAnswer = (
    RefusedV1
    | ClientRegisteredV1
    | ClientDeregisteredV1
    | ApplicationRegisteredV1
    | ApplicationDeregisteredV1
    | ChannelsActivatedV1
    | NotificationAcceptedV1
    | NotificationCancelledV1
    | NotificationStatusV1
    | NotificationContentV1
    | ClientConnectedV1
    | SessionsConfirmedV1
    | ClientDisconnectedV1
)

ANSWERS: Final[dict[str, type[AnyAnswer]]] = {
    "refused.v1": RefusedV1,
    "client.registered.v1": ClientRegisteredV1,
    "client.deregistered.v1": ClientDeregisteredV1,
    "application.registered.v1": ApplicationRegisteredV1,
    "application.deregistered.v1": ApplicationDeregisteredV1,
    "channels.activated.v1": ChannelsActivatedV1,
    "notification.accepted.v1": NotificationAcceptedV1,
    "notification.cancelled.v1": NotificationCancelledV1,
    "notification.status.v1": NotificationStatusV1,
    "notification.content.v1": NotificationContentV1,
    "client.connected.v1": ClientConnectedV1,
    "client.present.v1": SessionsConfirmedV1,
    "client.disconnected.v1": ClientDisconnectedV1,
}
"""AMQP property ``type`` of an answer → contract."""

ANSWER_TYPES: Final[dict[type[AnyAnswer], str]] = {model: name for name, model in ANSWERS.items()}
