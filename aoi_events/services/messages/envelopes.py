"""Envelopes between our workers: batches of deliveries, batches of outcomes, and hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from pydantic import ValidationError

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
from aoi_events.domain.delivery.state import Delivery
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Assurance, Inbound, Outbound, StartedSteps
from aoi_events.topology import HINTS, OUTCOME, OUTCOMES

_ITEMS: Final = 100
_OCTETS: Final = 128 * 1024

Item = DeliverItem | ChallengeItem | CloseItem
E = TypeVar("E", DeliveryBatchV1, OutcomeBatchV1)


def read_envelope(contract: type[E], message: Inbound) -> E:
    """Read the envelope in the message. Raises Refusal (malformed)."""
    try:
        return contract.decode(message.body)
    except ValidationError as error:
        raise Refusal(
            ErrorCode.MALFORMED, f"no envelope of our workers ({error.error_count()} faults)"
        ) from None


def batches(
    queue: str, items: Sequence[Item], rows: Mapping[str, Delivery] | None = None, *, gateway: bool
) -> list[Outbound]:
    """Envelopes of items for the queue of one channel worker or gateway node; ``rows`` are the
    deliveries of the steps among them, by ID, as they were committed.

    A gateway's queue is deleted with its connection: a message that is returned from it becomes the
    outcome *route lost* at once.
    """
    return [
        Outbound(
            exchange="",
            routing_key=queue,
            body=DeliveryBatchV1(items=tuple(part)).encode(),
            persistent=not gateway,
            if_returned=_route_lost(part) if gateway else None,
            assurance=_assurance(part, gateway=gateway),
            note=_started(part, rows or {}),
        )
        for part in _parts(items)
    ]


def _assurance(items: Sequence[Item], *, gateway: bool) -> Assurance:
    """Steps, and challenges over other channels, are in rows that have a deadline; what else goes
    to a gateway is a hint to its sessions.
    """
    if gateway and not any(isinstance(item, DeliverItem) for item in items):
        return Assurance.BEST_EFFORT
    return Assurance.DEADLINE


def _started(items: Sequence[Item], rows: Mapping[str, Delivery]) -> StartedSteps | None:
    started = tuple(
        (rows[item.delivery], item.step, item.attempt)
        for item in items
        if isinstance(item, DeliverItem) and item.delivery in rows
    )
    return StartedSteps(started) if started else None


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
    """A message that wakes the deadlines workers before their next poll."""
    return Outbound(
        exchange=HINTS,
        routing_key="",
        body=b"{}",
        mandatory=False,
        persistent=False,
        assurance=Assurance.BEST_EFFORT,
    )


def _route_lost(items: Sequence[Item]) -> Outbound | None:
    lost = [
        item.outcome(
            OutcomeKind.ROUTE_LOST,
            item.accepted_at,
            detail="the gateway node is gone",
            epoch=item.epoch,
        ).model_copy(update={"unroutable": True})
        for item in items
        if isinstance(item, DeliverItem)
    ]
    return outcomes(lost)[0] if lost else None


def _parts(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    part: list[Item] = []
    octets = 0
    for item in items:
        size = 512 + (len(item.content.data) if isinstance(item, DeliverItem) else 0)
        if not isinstance(item, CloseItem):
            texts = (value for value in item.parameters.values() if isinstance(value, str))
            size += sum(map(len, texts))
        if part and (len(part) >= _ITEMS or octets + size > _OCTETS):
            yield part
            part, octets = [], 0
        part.append(item)
        octets += size
    if part:
        yield part
