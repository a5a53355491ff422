"""Answers to requests, as messages to the requester's reply queue."""

from __future__ import annotations

from aoi_events.contracts.answers import ANSWER_TYPES, AnyAnswer, RefusedV1
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Answered, Assurance, Inbound, Outbound


def answer(message: Inbound, body: AnyAnswer) -> list[Outbound]:
    """The answer to a request; no message if the request names no reply queue.

    Not mandatory: RabbitMQ reports an answer to a live direct reply-to as returned *and* delivers
    it; and a requester that has gone away is no reason to try again.
    """
    if message.reply_to is None:
        return []
    code = body.code if isinstance(body, RefusedV1) else "ok"
    return [
        Outbound(
            exchange="",
            routing_key=message.reply_to,
            body=body.encode(),
            mandatory=False,
            persistent=False,
            assurance=Assurance.BEST_EFFORT,
            correlation_id=message.correlation_id,
            type=ANSWER_TYPES[type(body)],
            note=Answered(message.routing_key, code),
        )
    ]


def refusal(message: Inbound, refused: Refusal) -> list[Outbound]:
    """The answer that explains a refusal."""
    body = RefusedV1(code=refused.code, message=refused.message, field=refused.field)
    return answer(message, body)


def internal_error(message: Inbound) -> list[Outbound]:
    """The answer to a request that was parked because of a fault on our side."""
    text = "a fault on our side; the request was set aside for a person"
    return refusal(message, Refusal(ErrorCode.INTERNAL, text))
