"""Envelopes between our own workers: many items at once; unknown fields are ignored."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from aoi_events.contracts.base import Instant, Tolerant, VersionOne
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ChannelType,
    ClientId,
    DeliveryId,
    Fingerprint,
    NotificationId,
    TokenText,
    Topic,
    Urgency,
)


class DeliverItem(Tolerant):
    """One step of one delivery, for the channel that sends it.

    ``parameters`` are the address and whatever else the channel's activation contained; for a
    connected channel, ``session`` and ``epoch`` name the connection. ``wake_up``: the content is
    too large for the channel; only the delivery's ID goes out, and the device fetches the content.
    ``topic``: of two items with one topic only the newer matters; a topic is of one sender and one
    token, and its value says nothing else about them.
    """

    kind: Literal["deliver"] = "deliver"
    delivery: DeliveryId
    notification: NotificationId
    client: ClientId
    channel: ChannelType
    step: int
    attempt: int
    token: TokenText
    fingerprint: Fingerprint
    application: str
    instance: str
    content: Content
    urgency: Annotated[Urgency, Field(strict=False)]
    accepted_at: Instant
    expires_at: Instant
    wake_up: bool = False
    topic: Topic | None = None
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)
    session: str | None = None
    epoch: int | None = None

    def outcome(
        self,
        kind: OutcomeKind,
        at: datetime,
        *,
        detail: str | None = None,
        closes_channel: bool = False,
        retry_after: float | None = None,
        epoch: int | None = None,
    ) -> OutcomeItem:
        """The outcome of this step; the fields are those of :class:`OutcomeItem`."""
        return OutcomeItem(
            delivery=self.delivery,
            kind=kind,
            at=at,
            client=self.client,
            channel=self.channel,
            step=self.step,
            attempt=self.attempt,
            detail=detail,
            closes_channel=closes_channel,
            retry_after=retry_after,
            epoch=epoch,
        )


class ChallengeItem(Tolerant):
    """A challenge to send over a channel whose address is not proved yet."""

    hidden: ClassVar[frozenset[str]] = frozenset({"code"})

    kind: Literal["challenge"] = "challenge"
    client: ClientId
    channel: ChannelType
    attempt: int
    code: str
    parameters: dict[str, str | int | bool]
    expires_at: Instant

    @property
    def id(self) -> str:
        """The ID of this round of the proof; it does not contain the code."""
        return challenge_id(self.client, self.channel, self.code)

    def outcome(
        self,
        kind: OutcomeKind,
        at: datetime,
        *,
        detail: str | None = None,
        closes_channel: bool = False,
        retry_after: float | None = None,
    ) -> ChallengeOutcome:
        """The outcome of this challenge; the fields as in :class:`ChallengeOutcome`."""
        return ChallengeOutcome(
            challenge=self.id,
            attempt=self.attempt,
            kind=kind,
            at=at,
            client=self.client,
            channel=self.channel,
            detail=detail,
            closes_channel=closes_channel,
            retry_after=retry_after,
        )


class CloseItem(Tolerant):
    """To a gateway node: close this session (another one took over, or the client was retired).

    ``code`` is a WebSocket close code.
    """

    kind: Literal["close"] = "close"
    client: ClientId
    session: str
    epoch: int
    code: int
    message: str


class DeliveryBatchV1(Tolerant):
    """Items for one channel worker or one gateway node."""

    version: VersionOne = 1
    items: Annotated[
        tuple[Annotated[DeliverItem | ChallengeItem | CloseItem, Field(discriminator="kind")], ...],
        Field(strict=False),
    ]


class OutcomeKind(StrEnum):
    """The outcome of a step, as a channel, a device or the broker reports it.

    Of two outcomes of one attempt the stronger stands, by ``domain.delivery.evidence.RANK``.
    """

    UNAVAILABLE = "unavailable"
    """The provider is down, and was not asked; or its answer shows a fault that may last. Other
    channels are tried at once."""
    ACCEPTED = "accepted"
    """A provider took responsibility."""
    REFUSED = "refused"
    """Not now: try this channel again later."""
    ROUTE_LOST = "route_lost"
    """The connection is gone."""
    PARKED = "parked"
    """The step's message was set aside for a person."""
    REJECTED = "rejected"
    """Never: this step cannot succeed."""
    RECEIPTED = "receipted"
    """The provider says that the device has it."""
    COULD_NOT_WAKE = "could_not_wake"
    """The device has it, but could not wake the app now."""
    DISCARDED = "discarded"
    """The device discarded it: it cannot read it, or no app may have it."""
    NO_SUCH_APPLICATION = "no_such_application"
    """The device says that the app instance is gone."""
    ACKNOWLEDGED = "acknowledged"
    """The device says that the app has it."""


class OutcomeItem(Tolerant):
    """The outcome of a step.

    A device reports on the delivery as a whole, so its outcomes may lack ``step`` and ``attempt``;
    they count only when the delivery was addressed to ``client``. ``closes_channel``: the address
    itself is bad. ``retry_after`` in seconds: the provider wants no attempt before that time or,
    where it is down, is not asked before.
    """

    delivery: DeliveryId
    kind: Annotated[OutcomeKind, Field(strict=False)]
    at: Instant
    client: ClientId
    channel: ChannelType | None = None
    step: int | None = None
    attempt: int | None = None
    detail: Annotated[str, Field(max_length=200)] | None = None
    closes_channel: bool = False
    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None
    epoch: int | None = None
    """Of the connection that was lost, so that only that presence ends."""
    unroutable: bool = False
    """No queue took the message for the connection's gateway."""


class ChallengeOutcome(Tolerant):
    """A provider refused a challenge, or could not be reached.

    ``challenge``: :func:`challenge_id`. ``kind`` is *unavailable*, *refused* (for now) or
    *rejected*; the other fields mean the same as in an OutcomeItem.
    """

    challenge: str
    attempt: int
    kind: Annotated[OutcomeKind, Field(strict=False)]
    at: Instant
    client: ClientId
    channel: ChannelType
    detail: Annotated[str, Field(max_length=200)] | None = None
    closes_channel: bool = False
    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None


class OutcomeBatchV1(Tolerant):
    """Outcomes for the outcome worker."""

    version: VersionOne = 1
    items: Annotated[tuple[OutcomeItem, ...], Field(strict=False)]
    challenges: Annotated[tuple[ChallengeOutcome, ...], Field(strict=False)] = ()


_CHALLENGE: Final = "chl_"


def challenge_id(client: str, channel: str, code: str) -> str:
    """The ID of a challenge for messages that must not contain its code: a one-way hash of the
    round.
    """
    digest = hashlib.sha256(f"{client}\0{channel}\0{code}".encode()).hexdigest()
    return f"{_CHALLENGE}{digest[:26]}"


def is_challenge(submitted: str) -> bool:
    """Whether the ID of what was submitted is that of a challenge, not of a delivery."""
    return submitted.startswith(_CHALLENGE)
