"""From a decision to broker messages: answers, events, and envelopes between our workers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from aoi_events.contracts.answers import ANSWER_TYPES, AnyAnswer, RefusedV1
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.contracts.events import CloudEvent, DeliveryChanged, EventData, event_routing_key
from aoi_events.domain.delivery.machine import Delivery
from aoi_events.errors import ErrorCode, PublishRefused, Refusal
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import (
    Answered,
    Broker,
    FirstSteps,
    Inbound,
    Note,
    Outbound,
    Published,
)
from aoi_events.topology import EVENTS, HINTS, OUTCOME, OUTCOMES

__all__ = [
    "answer",
    "batches",
    "delivery_event",
    "event",
    "hint",
    "internal",
    "outcomes",
    "publish_all",
    "refusal",
]

log = get_logger(__name__)

_ITEMS: Final = 100
_OCTETS: Final = 128 * 1024
_EVENT_TYPE: Final = "application/cloudevents+json"


def answer(message: Inbound, body: AnyAnswer) -> list[Outbound]:
    """The answer, to whoever asked; nothing when nobody waits for one.

    Not mandatory: RabbitMQ reports an answer to a live direct reply-to as returned *and* delivers
    it; and a requester that has gone away is no reason to try again.
    """
    if message.reply_to is None:
        return []
    return [
        Outbound(
            exchange="",
            routing_key=message.reply_to,
            body=body.encode(),
            mandatory=False,
            persistent=False,
            best_effort=True,
            correlation_id=message.correlation_id,
            type=ANSWER_TYPES[type(body)],
            note=Answered(message.routing_key, _code(body)),
        )
    ]


def _code(body: AnyAnswer) -> str:
    return body.code if isinstance(body, RefusedV1) else "ok"


def refusal(message: Inbound, refused: Refusal) -> list[Outbound]:
    """The answer that says what was wrong."""
    body = RefusedV1(code=refused.code, message=refused.message, field=refused.field)
    return answer(message, body)


def internal(message: Inbound) -> list[Outbound]:
    """The answer to a request that was parked because of a fault on our side."""
    said = "a fault on our side; the request was set aside for a person"
    return refusal(message, Refusal(ErrorCode.INTERNAL, said))


def event(kind: str, sender: str, data: EventData, *, at: datetime, key: str) -> Outbound:
    """The event of one fact; ``key`` and ``kind`` say which fact, so that a repeat has its ID."""
    body = CloudEvent(
        id=hashlib.sha256(f"{kind}\0{key}".encode()).hexdigest()[:32],
        type=f"aoi.{kind}.v1",
        subject=key.partition("@")[0],
        time=at,
        data=data,
    )
    return Outbound(
        exchange=EVENTS,
        routing_key=event_routing_key(kind, sender),
        body=body.encode(),
        mandatory=False,
        best_effort=True,
        content_type=_EVENT_TYPE,
        type=body.type,
    )


def delivery_event(delivery: Delivery, now: datetime) -> Outbound:
    """The event of the delivery's present state (stored or terminal)."""
    at = delivery.settled_at or delivery.stored_at or now
    return event(
        f"notification.{delivery.state}",
        delivery.sender,
        DeliveryChanged(
            notification=delivery.notification,
            delivery=delivery.id,
            fingerprint=delivery.fingerprint,
            application=delivery.application,
            state=delivery.state,
            by=delivery.by,
            channel=delivery.channel,
            reason=delivery.reason,
            supersedes=delivery.supersedes,
        ),
        at=at,
        key=f"{delivery.id}@{at.timestamp():.6f}",
    )


def batches(
    queue: str, items: Sequence[DeliverItem | ChallengeItem | CloseItem], *, gateway: bool
) -> list[Outbound]:
    """Envelopes for one channel worker's or gateway node's queue.

    A gateway's queue dies with its connection: what comes back from it is *route lost* at once.
    """
    return [
        Outbound(
            exchange="",
            routing_key=queue,
            body=DeliveryBatchV1(items=tuple(part)).encode(),
            persistent=not gateway,
            if_returned=_route_lost(part) if gateway else None,
            best_effort=gateway and not any(isinstance(item, DeliverItem) for item in part),
            note=_first_steps(part),
        )
        for part in _parts(items)
    ]


def _first_steps(items: Sequence[DeliverItem | ChallengeItem | CloseItem]) -> Note | None:
    first = tuple(
        item.accepted_at for item in items if isinstance(item, DeliverItem) and item.attempt == 1
    )
    return FirstSteps(first) if first else None


def outcomes(items: Iterable[OutcomeItem | ChallengeOutcome]) -> list[Outbound]:
    """Envelopes for the outcome worker."""
    every = list(items)
    return [
        Outbound(
            exchange=OUTCOMES,
            routing_key=OUTCOME,
            body=_outcome_batch(every[start : start + _ITEMS]).encode(),
        )
        for start in range(0, len(every), _ITEMS)
    ]


def _outcome_batch(items: Sequence[OutcomeItem | ChallengeOutcome]) -> OutcomeBatchV1:
    return OutcomeBatchV1(
        items=tuple(item for item in items if isinstance(item, OutcomeItem)),
        challenges=tuple(item for item in items if isinstance(item, ChallengeOutcome)),
    )


def hint() -> Outbound:
    """Wakes the deadlines workers before their next poll."""
    return Outbound(
        exchange=HINTS,
        routing_key="",
        body=b"{}",
        mandatory=False,
        persistent=False,
        best_effort=True,
    )


async def publish_all(broker: Broker, outputs: Sequence[Outbound]) -> None:
    """Publish; raises PublishRefused unless the broker took every message that must not be lost.

    What may be (facts that somebody's full queue refuses, say) holds nothing back: it is counted.
    """
    if not outputs:
        return
    results = await broker.publish(outputs)
    _count_lost(outputs, results)
    for output, result in zip(outputs, results, strict=True):
        lost = result is Published.NACKED or (
            result is Published.RETURNED and output.if_returned is None
        )
        if lost and not output.best_effort:
            raise PublishRefused(
                f"the broker did not take a message for {output.exchange or 'queue'} "
                f"{output.routing_key!r} ({result.value}); is the queue declared, is it full?"
            )


def _count_lost(outputs: Sequence[Outbound], results: Sequence[Published]) -> None:
    """The one place that knows of messages that nobody is to wait for and the broker refused."""
    refused = Counter(
        output.type or output.routing_key
        for output, result in zip(outputs, results, strict=True)
        if output.best_effort and result is Published.NACKED
    )
    if refused:
        log.warning(
            "not_taken",
            messages=refused.total(),
            of=dict(refused.most_common(5)),
            hint="a queue that is bound to aoi.events may be full; the others have got them",
        )


def _route_lost(items: Sequence[DeliverItem | ChallengeItem | CloseItem]) -> Outbound | None:
    lost = [
        item.outcome(
            OutcomeKind.ROUTE_LOST,
            item.accepted_at,
            detail="the gateway node is gone",
            epoch=item.epoch,
        )
        for item in items
        if isinstance(item, DeliverItem)
    ]
    return outcomes(lost)[0] if lost else None


def _parts(
    items: Sequence[DeliverItem | ChallengeItem | CloseItem],
) -> Iterable[Sequence[DeliverItem | ChallengeItem | CloseItem]]:
    part: list[DeliverItem | ChallengeItem | CloseItem] = []
    octets = 0
    for item in items:
        size = 512 + (len(item.content.data) if isinstance(item, DeliverItem) else 0)
        if part and (len(part) >= _ITEMS or octets + size > _OCTETS):
            yield part
            part, octets = [], 0
        part.append(item)
        octets += size
    if part:
        yield part
