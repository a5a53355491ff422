"""Messages to and from quarantine: the original properties travel in headers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from aoi_events.contracts.requests import CLIENT_HEADER
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.topology import QUARANTINES, quarantine_of

REPLAYED_HEADER: Final = "aoi-replayed"
"""Marks a parked message that an operator replays: its requester no longer waits for an answer."""

HEADER_LENGTH: Final = 128
"""Characters of a header that are copied; who is named by a longer one does not exist, and a sender
may write any length, which does not fit into the headers of another message."""

_ORIGIN: Final = "aoi-origin-"


def replayed_id(message: Inbound) -> str | None:
    """The ID of the parked message that an operator replays; None for any other message."""
    return _text(message.headers, REPLAYED_HEADER)


def as_sent(message: Inbound) -> Inbound:
    """The message without the headers that only workers may set; senders can reach the worker
    queues.
    """
    if REPLAYED_HEADER not in message.headers:
        return message
    others = {name: value for name, value in message.headers.items() if name != REPLAYED_HEADER}
    return replace(message, headers=others)


def to_quarantine(message: Inbound, queue: str) -> Outbound:
    """The message, unparsed, for ``queue``; the properties that the broker validated become
    headers.
    """
    origin = {
        "routing-key": message.routing_key,
        "exchange": message.exchange,
        "user-id": message.user_id,
        "reply-to": message.reply_to,
        "correlation-id": message.correlation_id,
        "message-id": message.message_id,
        "client": _name(message.headers, CLIENT_HEADER),
        "sender": _name(message.headers, SENDER_HEADER),
    }
    return Outbound(
        exchange=QUARANTINES,
        routing_key=queue,
        body=message.body,
        headers={_ORIGIN + name: value for name, value in origin.items() if value is not None},
        content_type=message.content_type or "application/octet-stream",
    )


def to_replay(message: ParkedMessage) -> Outbound:
    """A parked message for the quarantine of its queue, where it is handled alone."""
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
    that may name the first sender; a queue's permissions may let others write there. Raises Refusal
    (not_allowed) for a message of any other user.
    """
    if message.user_id not in believed:
        raise Refusal(
            ErrorCode.NOT_ALLOWED,
            "only workers and operators (AOI_OPERATOR_USERS) may write to a quarantine; "
            "send requests to aoi.requests",
        )
    headers = message.headers
    original = {
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
        headers=original,
        redelivered=True,
    )


def _text(headers: Mapping[str, object], name: str) -> str | None:
    value = headers.get(name)
    return value if isinstance(value, str) else None


def _name(headers: Mapping[str, object], name: str) -> str | None:
    value = _text(headers, name)
    return None if value is None else value[:HEADER_LENGTH]
