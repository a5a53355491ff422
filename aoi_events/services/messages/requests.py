"""From a broker message to a request: who makes it, and where the answer goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from aoi_events.contracts.events import user_word
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import CLIENT_HEADER, GATEWAY_ONLY, AnyRequest
from aoi_events.contracts.senders import (
    SENDER_HEADER,
    SENDER_REQUESTS,
    is_reserved,
    is_spoken_for,
)
from aoi_events.errors import DOCUMENTATION, ErrorCode, Refusal
from aoi_events.ports.broker import Inbound
from aoi_events.services.messages.quarantine import REPLAYED_HEADER

_REPLY_PREFIX: Final = "amq.rabbitmq.reply-to."
_FIRE_AND_FORGET: Final = frozenset(
    {
        "application.deregister",
        "channel.deactivate",
        "client.deregister",
        "client.disconnected",
        "notification.cancel",
        "notification.send",
    }
)
"""Requests whose answers assign nothing: they are carried out without ``reply_to``, too."""


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request and its sender: a broker user, or the sender that an endpoint names. ``session``:
    the client whose proved session made it.
    """

    request: AnyRequest
    sender: str
    session: str | None
    message: Inbound = field(repr=False)

    @property
    def reply_to(self) -> str | None:
        """The queue for the answer."""
        return self.message.reply_to


def read_request(
    message: Inbound, gateways: frozenset[str], endpoints: frozenset[str] = frozenset()
) -> IncomingRequest:
    """Read the request in ``message``. Raises Refusal for any other message.

    ``gateways`` and ``endpoints`` are the broker users that may act for devices and for senders.
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
            f"({DOCUMENTATION}/operations/troubleshooting.md#gateway_unknown)",
        )
    replayed = REPLAYED_HEADER in message.headers
    if message.reply_to is None and message.routing_key not in _FIRE_AND_FORGET and not replayed:
        raise Refusal(
            ErrorCode.REPLY_TO_MISSING,
            f"the answer to {message.routing_key} assigns or reports something: set reply_to "
            "(amq.rabbitmq.reply-to is simplest)",
        )
    check_reply_to(message)
    session = message.headers.get(CLIENT_HEADER) if trusted else None
    sender = _sender(message, message.user_id, endpoints)
    return IncomingRequest(request, sender, str(session) if session else None, message)


def _sender(message: Inbound, user: str, endpoints: frozenset[str]) -> str:
    """The sender: the broker user, or, for an endpoint, the sender in its header."""
    claimed = message.headers.get(SENDER_HEADER)
    if claimed is None:
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
    if not isinstance(claimed, str) or not is_spoken_for(claimed):
        raise Refusal(ErrorCode.INVALID, f"the header {SENDER_HEADER} names no sender")
    return claimed


def check_reply_to(message: Inbound) -> None:
    """Check that the answer goes to the sender's own queue. Raises Refusal (reply_to_refused)."""
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
    """Whether the message names a queue that its answer may go to."""
    try:
        check_reply_to(message)
    except Refusal:
        return False
    return message.reply_to is not None
