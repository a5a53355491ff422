"""8.1.4, notification delivery: to whom a notification goes, and what is acknowledged.

*Delivered* and *no such application* are final: a repeat gets the same answer and reaches nobody
(the latter until an app registers, which may be the one that was missing).
*Could not wake* is true of a moment, so a repeat is tried anew.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from pydantic import ValidationError

from aoi_events.client.core.activation import challenged
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
from aoi_events.client.core.model import HANDLING_LIMIT, Origin, Pending
from aoi_events.client.core.state import (
    KEPT_LIMIT,
    SEEN_LIMIT,
    AckCode,
    ApplicationRecord,
    KeptAck,
    WakeUp,
    bounded,
)
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.answers import NotificationContentV1, RefusedV1
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import AckFrame, NotificationFrame, WakeUpFrame
from aoi_events.contracts.identifiers import Urgency
from aoi_events.contracts.push import (
    MAX_PUSH,
    PushedChallenge,
    PushedNotification,
    PushedWakeUp,
    push_frames,
)
from aoi_events.contracts.requests import FetchNotificationV1
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ErrorCode, PduError
from aoi_events.oma_push.datagrams import read
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush, decode
from aoi_events.oma_push.reassembly import take

__all__ = ["FETCH", "fetch_due", "fetch_refused", "fetched", "handled", "notified", "send_kept"]
__all__ += ["pushed", "short_message", "woken"]

FETCH: Final = "notification.fetch"
_WEBSOCKET: Final = "websocket"
_SMS: Final = "sms"
_LONGEST_SENDER: Final = 32
_NOTHING_LEFT: Final = frozenset(
    {ErrorCode.NOT_FOUND, ErrorCode.EXPIRED, ErrorCode.CANCELLED, ErrorCode.TOKEN_REVOKED}
)


def notified(turn: Turn, frame: NotificationFrame) -> None:
    """A notification came over the connection."""
    origin = Origin(_WEBSOCKET, _attempt(frame.attempt))
    if _ended(turn, frame.delivery, origin):
        return
    record = turn.stored.of_token(frame.token)
    if record is None:
        _settle(turn, frame.delivery, _nobody(turn), (origin,))
        return
    notification = Notification(
        frame.delivery,
        record.application,
        record.instance,
        frame.content,
        _WEBSOCKET,
        frame.notification,
        frame.urgency,
        frame.expires_at,
    )
    _give(turn, record, notification, origin)


def woken(turn: Turn, frame: WakeUpFrame) -> None:
    """A wake-up came over the connection: the content was larger than the device asked for."""
    record = turn.stored.of_token(frame.token)
    wake_up = WakeUp(fingerprint_of(frame.token), _WEBSOCKET, _attempt(frame.attempt))
    _note_wake_up(turn, frame.delivery, wake_up, record)


def short_message(turn: Turn, message: ShortMessage, at: datetime) -> None:
    """A short message came: content, a wake-up, a challenge, a part, or nothing of ours."""
    try:
        datagram = _whole(turn, message, at)
        if datagram is None:
            return
        payload = decode(datagram)
    except PduError as error:
        turn.tell(ShortMessageIgnored(str(error)))
        return
    match payload:
        case ChallengePush(code):
            challenged(turn, _SMS, code)
        case WakeUpPush(delivery, fingerprint):
            record = turn.stored.of_fingerprint(fingerprint)
            _note_wake_up(turn, delivery, WakeUp(fingerprint, _SMS), record)
        case ContentPush(delivery, fingerprint, content):
            _forward(turn, delivery, fingerprint, content, Origin(_SMS))
        case _:
            assert_never(payload)


def _whole(turn: Turn, message: ShortMessage, at: datetime) -> bytes | None:
    """The datagram that the message is or completes; None while parts are missing."""
    segment = read(message.user_data)
    if segment.part is None:
        return segment.octets
    held = turn.stored.parts
    taken = take(held, message.sender[:_LONGEST_SENDER], segment.part, segment.octets, now=at)
    turn.keep(parts=taken.waiting)
    if taken.dropped:
        turn.tell(PartsDropped(taken.dropped))
    return taken.datagram


def pushed(turn: Turn, channel: str, octets: bytes) -> None:
    """A push came over a channel: content, a wake-up, a challenge, or nothing of ours."""
    if len(octets) > MAX_PUSH:
        turn.tell(PushIgnored(channel, f"larger than {MAX_PUSH} octets"))
        return
    try:
        frame = push_frames.validate_json(octets)
    except ValidationError as error:
        turn.tell(PushIgnored(channel, f"no push of an AOI Server ({error.error_count()} faults)"))
        return
    match frame:
        case PushedChallenge():
            challenged(turn, channel, frame.code)
        case PushedWakeUp():
            record = turn.stored.of_fingerprint(frame.fingerprint)
            wake_up = WakeUp(frame.fingerprint, channel, frame.attempt)
            _note_wake_up(turn, frame.delivery, wake_up, record)
        case PushedNotification():
            _forward(
                turn,
                frame.delivery,
                frame.fingerprint,
                frame.content,
                Origin(channel, frame.attempt),
                (frame.notification, frame.urgency, frame.expires_at),
            )
        case _:
            assert_never(frame)


def _forward(
    turn: Turn,
    delivery: str,
    fingerprint: str,
    content: Content,
    origin: Origin,
    more: tuple[str | None, Urgency | None, datetime | None] = (None, None, None),
) -> None:
    """Content that names its token by the fingerprint; ``more`` is what not every channel says."""
    if _ended(turn, delivery, origin):
        return
    record = turn.stored.of_fingerprint(fingerprint)
    if record is None:
        _settle(turn, delivery, _nobody(turn), (origin,))
        return
    notification, urgency, expires_at = more
    forwarded = Notification(
        delivery,
        record.application,
        record.instance,
        content,
        origin.channel,
        notification,
        urgency,
        expires_at,
    )
    _give(turn, record, forwarded, origin)


def fetch_due(turn: Turn) -> None:
    """Fetch the content behind every wake-up."""
    client = turn.stored.client
    for delivery in turn.stored.wake_ups:
        if client is None or not turn.may_ask(FETCH, delivery):
            continue
        if delivery in turn.view.handling or turn.asking(FETCH, delivery) is not None:
            continue
        body = FetchNotificationV1(version=1, client=client, delivery=delivery)
        turn.ask(Pending(FETCH, delivery), body)


def fetched(turn: Turn, pending: Pending, answer: NotificationContentV1) -> None:
    """The content behind a wake-up goes to its app instance like any other."""
    wake_up = turn.stored.wake_ups.get(pending.about)
    if wake_up is None or answer.delivery != pending.about:
        return  # it came over another channel meanwhile
    origin = Origin(wake_up.channel, wake_up.attempt)
    if _ended(turn, answer.delivery, origin):
        return
    record = turn.stored.of_token(answer.token)
    if record is None:
        _settle(turn, answer.delivery, _nobody(turn), (origin,))
        return
    notification = Notification(
        answer.delivery,
        record.application,
        record.instance,
        answer.content,
        wake_up.channel,
        answer.notification,
        answer.urgency,
        answer.expires_at,
    )
    _give(turn, record, notification, origin)


def fetch_refused(turn: Turn, pending: Pending, answer: RefusedV1) -> None:
    """There is nothing to fetch any more, or not before the next connection."""
    if answer.code not in _NOTHING_LEFT:
        turn.hold(FETCH, pending.about)
        turn.tell(Refused(FETCH, pending.about, answer.code, answer.message))
        return
    _forget_wake_up(turn, pending.about)
    turn.tell(WakeUpEnded(pending.about, answer.code))


def handled(turn: Turn, delivery: str, code: AckCode) -> None:
    """An app instance took a notification, or could not."""
    origins = turn.view.handling.get(delivery, ())
    left = {k: v for k, v in turn.view.handling.items() if k != delivery}
    turn.view = replace(turn.view, handling=left)
    _settle(turn, delivery, code, origins)


def send_kept(turn: Turn) -> None:
    """After a welcome: send the acknowledgements that waited for it."""
    for ack in turn.stored.acks.values():
        turn.send(_frame(ack))
    if turn.stored.acks:
        turn.keep(acks={})


def _attempt(number: int) -> int | None:
    """The attempt, if it is one that an acknowledgement may name."""
    return number if number >= 1 else None


def _ended(turn: Turn, delivery: str, origin: Origin) -> bool:
    """Whether the delivery needs nothing more than its acknowledgement, which this sees to."""
    known = turn.stored.seen.get(delivery)
    if known is not None:
        turn.tell(DuplicateDropped(delivery, origin.channel))
        _settle(turn, delivery, known, (origin,))
        return True
    under_way = turn.view.handling.get(delivery)
    if under_way is not None:
        turn.tell(DuplicateDropped(delivery, origin.channel))
        if origin not in under_way:
            origins = (*under_way, origin)
            turn.view = replace(turn.view, handling={**turn.view.handling, delivery: origins})
        return True
    return False


def _nobody(turn: Turn) -> AckCode:
    """What is true of a token that no app instance has.

    While an app instance waits for its token, the unknown one may be its: saying that there is no
    such application would end that token at the server.
    """
    return "could_not_wake" if turn.stored.renewing else "no_such_application"


def _give(
    turn: Turn, record: ApplicationRecord, notification: Notification, origin: Origin
) -> None:
    running = record.key in turn.view.running
    full = len(turn.view.handling) >= HANDLING_LIMIT
    if full or not (running or turn.view.can_wake):
        _settle(turn, notification.delivery, "could_not_wake", (origin,))
        return
    handling = {**turn.view.handling, notification.delivery: (origin,)}
    turn.view = replace(turn.view, handling=handling)
    turn.tell(
        NotificationReceived(
            notification.delivery,
            record.application,
            record.instance,
            notification.channel,
            woken=not running,
        )
    )
    turn.do(Deliver(notification, wake=not running))


def _note_wake_up(
    turn: Turn, delivery: str, wake_up: WakeUp, record: ApplicationRecord | None
) -> None:
    origin = Origin(wake_up.channel, wake_up.attempt)
    if _ended(turn, delivery, origin):
        return
    if record is None:
        _settle(turn, delivery, _nobody(turn), (origin,))
        return
    turn.keep(wake_ups=bounded(turn.stored.wake_ups, delivery, wake_up, KEPT_LIMIT))
    turn.release(FETCH, delivery)
    turn.tell(WakeUpReceived(delivery, wake_up.channel))


def _settle(turn: Turn, delivery: str, code: AckCode, origins: tuple[Origin, ...]) -> None:
    """Remember what became of the delivery, and acknowledge it wherever it came from."""
    _forget_wake_up(turn, delivery)
    if code != "could_not_wake":
        turn.keep(seen=bounded(turn.stored.seen, delivery, code, SEEN_LIMIT))
    for origin in origins:
        ack = KeptAck(delivery, code, origin.channel, origin.attempt)
        # What comes another way hints that the connection is dead without knowing it: what is said
        # over it now is said again after the next welcome.
        kept = not turn.view.connected or origin.channel != _WEBSOCKET
        if kept:
            turn.keep(acks=bounded(turn.stored.acks, delivery, ack, KEPT_LIMIT))
        if turn.view.connected:
            turn.send(_frame(ack))
        turn.tell(NotificationAcknowledged(delivery, code, origin.channel, kept))


def _forget_wake_up(turn: Turn, delivery: str) -> None:
    if delivery in turn.stored.wake_ups:
        turn.keep(wake_ups={k: v for k, v in turn.stored.wake_ups.items() if k != delivery})


def _frame(ack: KeptAck) -> AckFrame:
    return AckFrame(delivery=ack.delivery, code=ack.code, attempt=ack.attempt, channel=ack.channel)
