"""8.1.4, notification delivery: which app gets a notification, and how it is acknowledged.

*Delivered* and *no such application* are final: a repeat gets the same acknowledgement, and no app
gets it (*no such application* only until an app registers, which may be the missing one). *Could
not wake* is temporary, so a repeat is delivered.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias

from pydantic import ValidationError

from aoi_events.client.core.activation import challenge_received
from aoi_events.client.core.effects import Deliver, Notification
from aoi_events.client.core.events import (
    DuplicateDropped,
    NotificationAcknowledged,
    NotificationReceived,
    PartsDropped,
    PushIgnored,
    Refused,
    ShortMessageIgnored,
    WakeUpEnded,
    WakeUpReceived,
)
from aoi_events.client.core.inputs import ShortMessage
from aoi_events.client.core.model import HANDLING_LIMIT, PendingRequest
from aoi_events.client.core.state import (
    PENDING_LIMIT,
    SEEN_LIMIT,
    AckCode,
    ApplicationRecord,
    Origin,
    bounded,
)
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.answers import NotificationContentV1, RefusedV1
from aoi_events.contracts.device import AckFrame, NotificationFrame, WakeUpFrame
from aoi_events.contracts.push import (
    MAX_PUSH,
    PushedChallenge,
    PushedNotification,
    PushedWakeUp,
    PushFrame,
    push_frames,
)
from aoi_events.contracts.requests import FetchNotificationV1
from aoi_events.errors import ErrorCode, PduError
from aoi_events.oma_push.datagrams import read
from aoi_events.oma_push.payload import ChallengePush, ContentPush, Payload, WakeUpPush, decode
from aoi_events.oma_push.reassembly import take

FETCH: Final = "notification.fetch"
_WEBSOCKET: Final = "websocket"
_SMS: Final = "sms"
_LONGEST_SENDER: Final = 32
_CONTENT_GONE: Final = frozenset(
    {ErrorCode.NOT_FOUND, ErrorCode.EXPIRED, ErrorCode.CANCELLED, ErrorCode.TOKEN_REVOKED}
)


_WakeUp: TypeAlias = WakeUpFrame | PushedWakeUp | WakeUpPush
_WithContent: TypeAlias = (
    NotificationFrame | PushedNotification | NotificationContentV1 | ContentPush
)


def frame_received(transition: Transition, frame: NotificationFrame | WakeUpFrame) -> None:
    """A notification came over the connection; or a wake-up, if it is larger than the limit."""
    # An acknowledgement may name attempts from 1.
    origin = Origin(_WEBSOCKET, frame.attempt if frame.attempt >= 1 else None)
    _received(transition, frame, transition.stored.of_token(frame.token), origin)


def short_message_received(transition: Transition, message: ShortMessage, at: datetime) -> None:
    """A short message came: content, a wake-up, a challenge, a part, or no push at all."""
    try:
        datagram = _reassemble(transition, message, at)
        if datagram is None:
            return
        payload = decode(datagram)
    except PduError as error:
        transition.emit(ShortMessageIgnored(str(error)))
        return
    _push_received(transition, _SMS, payload)


def _reassemble(transition: Transition, message: ShortMessage, at: datetime) -> bytes | None:
    """The datagram that the message is or completes; None while parts are missing."""
    segment = read(message.user_data)
    if segment.part is None:
        return segment.octets
    parts, sender = transition.stored.parts, message.sender[:_LONGEST_SENDER]
    taken = take(parts, sender, segment.part, segment.octets, now=at)
    transition.update_stored(parts=taken.waiting)
    if taken.dropped:
        transition.emit(PartsDropped(taken.dropped))
    return taken.datagram


def push_received(transition: Transition, channel: str, octets: bytes) -> None:
    """A push came over a channel: content, a wake-up, a challenge, or no push of an AOI Server."""
    if len(octets) > MAX_PUSH:
        transition.emit(PushIgnored(channel, f"larger than {MAX_PUSH} octets"))
        return
    try:
        frame = push_frames.validate_json(octets)
    except ValidationError as error:
        reason = f"not a push of an AOI Server ({error.error_count()} faults)"
        transition.emit(PushIgnored(channel, reason))
        return
    _push_received(transition, channel, frame)


def _push_received(transition: Transition, channel: str, push: Payload | PushFrame) -> None:
    if isinstance(push, ChallengePush | PushedChallenge):
        challenge_received(transition, channel, push.code)
        return
    # A short message does not name its attempt.
    attempt = None if isinstance(push, ContentPush | WakeUpPush) else push.attempt
    record = transition.stored.of_fingerprint(push.fingerprint)
    _received(transition, push, record, Origin(channel, attempt))


def fetch_due(transition: Transition) -> None:
    """Fetch the content of every wake-up."""
    client = transition.stored.client
    for delivery in transition.stored.wake_ups:
        in_flight = transition.request_in_flight(FETCH, delivery) is not None
        due = not in_flight and delivery not in transition.model.handling
        if client is not None and due and transition.may_request(FETCH, delivery):
            body = FetchNotificationV1(version=1, client=client, delivery=delivery)
            transition.request(PendingRequest(FETCH, delivery), body)


def content_fetched(
    transition: Transition, pending: PendingRequest, answer: NotificationContentV1
) -> None:
    """The server answered a fetch: deliver the content."""
    origin = transition.stored.wake_ups.get(pending.about)
    if origin is None or answer.delivery != pending.about:
        return  # it came over another channel meanwhile
    _received(transition, answer, transition.stored.of_token(answer.token), origin)


def fetch_refused(transition: Transition, pending: PendingRequest, answer: RefusedV1) -> None:
    """The content is gone, or it cannot be fetched before the next connection."""
    if answer.code not in _CONTENT_GONE:
        transition.postpone(FETCH, pending.about)
        transition.emit(Refused(FETCH, pending.about, answer.code, answer.message))
        return
    _forget_wake_up(transition, pending.about)
    transition.emit(WakeUpEnded(pending.about, answer.code))


def notification_handled(transition: Transition, delivery: str, code: AckCode) -> None:
    """An app instance handled a notification, or could not: acknowledge it."""
    origins = transition.model.handling.get(delivery, ())
    left = {k: v for k, v in transition.model.handling.items() if k != delivery}
    transition.update(handling=left)
    _acknowledge(transition, delivery, code, origins)


def send_pending_acks(transition: Transition) -> None:
    """After a welcome: send the acknowledgements that waited for a connection."""
    for ack in transition.stored.acks.values():
        transition.send(ack)
    if transition.stored.acks:
        transition.update_stored(acks={})


def _received(
    transition: Transition,
    message: _WithContent | _WakeUp,
    record: ApplicationRecord | None,
    origin: Origin,
) -> None:
    """A notification or a wake-up came for the app instance ``record`` (None: unknown token).

    The acknowledgement of a duplicate goes to this origin, too.
    """
    delivery = message.delivery
    known = transition.stored.seen.get(delivery)
    origins = transition.model.handling.get(delivery)
    if known is not None or origins is not None:
        transition.emit(DuplicateDropped(delivery, origin.channel))
        if known is not None:
            _acknowledge(transition, delivery, known, (origin,))
        elif origins is not None and origin not in origins:
            handling = {**transition.model.handling, delivery: (*origins, origin)}
            transition.update(handling=handling)
    elif record is None:
        # While an app instance waits for its token, the unknown one may be its own: after *no such
        # application* the server would revoke that token.
        unknown: AckCode = "could_not_wake" if transition.stored.renewing else "no_such_application"
        _acknowledge(transition, delivery, unknown, (origin,))
    elif isinstance(message, _WakeUp):
        wake_ups = bounded(transition.stored.wake_ups, delivery, origin, PENDING_LIMIT)
        transition.update_stored(wake_ups=wake_ups)
        transition.allow(FETCH, delivery)
        transition.emit(WakeUpReceived(delivery, origin.channel))
    else:
        _deliver(transition, message, record, origin)


def _deliver(
    transition: Transition, message: _WithContent, record: ApplicationRecord, origin: Origin
) -> None:
    """Deliver the content, unless the app cannot be woken or too many are being handled."""
    delivery, channel = message.delivery, origin.channel
    running = record.key in transition.model.running
    full = len(transition.model.handling) >= HANDLING_LIMIT
    if full or not (running or transition.model.can_wake):
        _acknowledge(transition, delivery, "could_not_wake", (origin,))
        return
    application, instance = record.application, record.instance
    notification = Notification(delivery, application, instance, message.content, channel)
    if not isinstance(message, ContentPush):  # a short message has no more details
        notification = replace(
            notification,
            notification=message.notification,
            urgency=message.urgency,
            expires_at=message.expires_at,
        )
    transition.update(handling={**transition.model.handling, delivery: (origin,)})
    transition.emit(
        NotificationReceived(delivery, application, instance, channel, woken=not running)
    )
    transition.add(Deliver(notification, wake=not running))


def _acknowledge(
    transition: Transition, delivery: str, code: AckCode, origins: tuple[Origin, ...]
) -> None:
    """Store a final code, and acknowledge the delivery for each origin."""
    _forget_wake_up(transition, delivery)
    if code != "could_not_wake":
        seen = bounded(transition.stored.seen, delivery, code, SEEN_LIMIT)
        transition.update_stored(seen=seen)
    connected = transition.model.connected
    for origin in origins:
        ack = AckFrame(delivery=delivery, code=code, attempt=origin.attempt, channel=origin.channel)
        # A message over another channel is a sign that the connection may be dead: what is sent
        # over it now is sent again after the next welcome.
        resend = not connected or origin.channel != _WEBSOCKET
        if resend:
            acks = bounded(transition.stored.acks, delivery, ack, PENDING_LIMIT)
            transition.update_stored(acks=acks)
        if connected:
            transition.send(ack)
        transition.emit(NotificationAcknowledged(delivery, code, origin.channel, resend))


def _forget_wake_up(transition: Transition, delivery: str) -> None:
    wake_ups = transition.stored.wake_ups
    if delivery in wake_ups:
        left = {k: v for k, v in wake_ups.items() if k != delivery}
        transition.update_stored(wake_ups=left)
