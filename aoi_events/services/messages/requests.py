"""From a broker message to a request that somebody made: who asks, and where the answer goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from aoi_events.contracts.events import user_word
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import CLIENT_HEADER, GATEWAY_ONLY, AnyRequest
from aoi_events.contracts.senders import (
    SENDER_HEADER,
    SENDER_REQUESTS,
    is_reserved,
    is_spoken_for,
)
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.topology import QUARANTINES, quarantine_of

__all__ = [
    "Asked",
    "as_sent",
    "check_reply_to",
    "may_answer",
    "read_request",
    "to_quarantine",
    "to_replay",
    "unwrap",
]

R_co = TypeVar("R_co", covariant=True)

REPLAYED_HEADER: Final = "aoi-replayed"
"""A parked message comes again because a person said so; nobody waits for its answer any more."""

_REPLY_PREFIX: Final = "amq.rabbitmq.reply-to."
_FIRE_AND_FORGET: Final = frozenset({"client.disconnected", "notification.cancel"})
_ABOUT: Final = ("notification", "delivery", "client")
_ORIGIN: Final = "aoi-origin-"


@dataclass(frozen=True, slots=True)
class Asked(Generic[R_co]):
    """A request with who asked. ``sender``: a broker user, or whom an endpoint speaks for.
    ``session``: the client whose proved session made it.
    """

    request: R_co
    sender: str
    session: str | None
    message: Inbound = field(repr=False)

    @property
    def reply_to(self) -> str | None:
        """Where the answer goes."""
        return self.message.reply_to


def about_request(asked: Asked[Any]) -> dict[str, object]:
    """Which notification, delivery or client is asked about, and by whom."""
    named = {name: getattr(asked.request, name, None) for name in _ABOUT}
    return {"sender": asked.sender} | {name: said for name, said in named.items() if said}


def read_request(
    message: Inbound, gateways: frozenset[str], endpoints: frozenset[str] = frozenset()
) -> Asked[AnyRequest]:
    """The request in ``message``. Raises Refusal for anything that is none.

    ``gateways`` and ``endpoints`` are the broker users who may speak for devices and for senders.
    """
    if not message.user_id:
        raise Refusal(
            ErrorCode.SENDER_UNKNOWN,
            "set the AMQP property user_id to your broker user name; the broker validates it",
        )
    request = parse_request(message.routing_key, message.body)
    trusted = message.user_id in gateways
    if message.routing_key in GATEWAY_ONLY and not trusted:
        raise Refusal(
            ErrorCode.GATEWAY_UNKNOWN,
            f"only gateways may send {message.routing_key}: if {message.user_id!r} is the broker "
            "user of one, name it in AOI_GATEWAY_USERS of every worker "
            "(docs/operations/troubleshooting.md#gateway_unknown)",
        )
    replayed = REPLAYED_HEADER in message.headers
    if message.reply_to is None and message.routing_key not in _FIRE_AND_FORGET and not replayed:
        raise Refusal(
            ErrorCode.REPLY_TO_MISSING,
            f"{message.routing_key} is answered: set reply_to (amq.rabbitmq.reply-to is simplest)",
        )
    check_reply_to(message)
    session = message.headers.get(CLIENT_HEADER) if trusted else None
    sender = _sender(message, message.user_id, endpoints)
    return Asked(request, sender, str(session) if session else None, message)


def _sender(message: Inbound, user: str, endpoints: frozenset[str]) -> str:
    """Who asks: the broker user, unless it is an endpoint and says for whom."""
    said = message.headers.get(SENDER_HEADER)
    if said is None:
        if is_reserved(user):
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                "senders named webpush, vapid:… and key:… are those of endpoints; "
                "give the broker user another name",
            )
        return user
    if user not in endpoints or message.routing_key not in SENDER_REQUESTS:
        raise Refusal(
            ErrorCode.NOT_ALLOWED,
            f"only endpoints (AOI_ENDPOINT_USERS) may set the header {SENDER_HEADER}, and only to "
            "send, cancel and ask about notifications",
        )
    if not isinstance(said, str) or not is_spoken_for(said):
        raise Refusal(ErrorCode.INVALID, f"the header {SENDER_HEADER} names no sender")
    return said


def check_reply_to(message: Inbound) -> None:
    """Answers go to the sender's own queues only. Raises Refusal (reply_to_refused)."""
    address = message.reply_to
    if address is None or address.startswith(_REPLY_PREFIX):
        return
    own = f"aoi.reply.{user_word(message.user_id or '')}."
    if not message.user_id or not address.startswith(own) or len(address) > 255:
        raise Refusal(
            ErrorCode.REPLY_TO_REFUSED,
            "answers go to amq.rabbitmq.reply-to or to a queue named "
            f"{own if message.user_id else 'aoi.reply.<user>.'}<anything>",
        )


def may_answer(message: Inbound) -> bool:
    """Whether the message names a place that its answer may go to."""
    try:
        check_reply_to(message)
    except Refusal:
        return False
    return message.reply_to is not None


def as_sent(message: Inbound) -> Inbound:
    """The message without headers that only we may set; senders reach the worker queues freely."""
    if REPLAYED_HEADER not in message.headers:
        return message
    kept = {name: value for name, value in message.headers.items() if name != REPLAYED_HEADER}
    return replace(message, headers=kept)


def to_quarantine(message: Inbound, queue: str) -> Outbound:
    """The message, unparsed, for ``queue``; what the broker validated moves into our headers."""
    origin = {
        "routing-key": message.routing_key,
        "exchange": message.exchange,
        "user-id": message.user_id,
        "reply-to": message.reply_to,
        "correlation-id": message.correlation_id,
        "message-id": message.message_id,
        "client": _text(message.headers, CLIENT_HEADER),
        "sender": _text(message.headers, SENDER_HEADER),
    }
    return Outbound(
        exchange=QUARANTINES,
        routing_key=queue,
        body=message.body,
        headers={_ORIGIN + name: value for name, value in origin.items() if value is not None},
        content_type=message.content_type or "application/octet-stream",
    )


def to_replay(message: ParkedMessage) -> Outbound:
    """The parked message for the quarantine of its queue, where it is handled alone."""
    origin = {
        "routing-key": message.routing_key,
        "exchange": message.exchange,
        "user-id": message.sender,
        "message-id": f"{message.id}.replay",
        "client": message.headers.get(CLIENT_HEADER),
        "sender": message.headers.get(SENDER_HEADER),
    }
    return Outbound(
        exchange=QUARANTINES,
        routing_key=quarantine_of(message.queue),
        body=message.body,
        headers={REPLAYED_HEADER: message.id}
        | {_ORIGIN + name: value for name, value in origin.items() if value},
    )


def unwrap(message: Inbound, believed: Collection[str]) -> Inbound:
    """The message as it was before :func:`to_quarantine` or :func:`to_replay`.

    It was delivered before, so its effects may be committed already. ``believed``: the broker users
    whose word about the first sender is taken; a queue's permissions may let others write there.
    Raises Refusal (not_allowed) for a message of anybody else.
    """
    if message.user_id not in believed:
        raise Refusal(
            ErrorCode.NOT_ALLOWED,
            "only workers and operators (AOI_OPERATOR_USERS) may write to a quarantine; "
            "send requests to aoi.requests",
        )
    headers = message.headers
    kept = {
        name: value
        for name, value in (
            (CLIENT_HEADER, _text(headers, _ORIGIN + "client")),
            (SENDER_HEADER, _text(headers, _ORIGIN + "sender")),
            (REPLAYED_HEADER, _text(headers, REPLAYED_HEADER)),
        )
        if value is not None
    }
    return replace(
        message,
        routing_key=_text(headers, _ORIGIN + "routing-key") or message.routing_key,
        exchange=_text(headers, _ORIGIN + "exchange") or "",
        user_id=_text(headers, _ORIGIN + "user-id"),
        reply_to=_text(headers, _ORIGIN + "reply-to"),
        correlation_id=_text(headers, _ORIGIN + "correlation-id"),
        message_id=_text(headers, _ORIGIN + "message-id") or message.message_id,
        headers=kept,
        redelivered=True,
    )


def _text(headers: Mapping[str, object], name: str) -> str | None:
    value = headers.get(name)
    return value if isinstance(value, str) else None
