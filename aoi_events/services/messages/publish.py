"""Publishes the messages of a worker, and counts those that may be lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from aoi_events.errors import PublishRefused
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.ports.broker import Assurance, Broker, Outbound, Published
from aoi_events.topology import EVENTS, HINTS, is_gateway_queue

log = get_logger(__name__)

_CONSEQUENCES: Final = {
    EVENTS: "a queue that is bound to it is full, or its node is away; the others have got them",
    HINTS: "a deadlines worker or its node went away; rows that are due are found without it",
}
_ANSWERS: Final = "the queue of who asked is full, or its node is away; a repeat is answered again"
_seldom: WeakKeyDictionary[Broker, SeldomLog] = WeakKeyDictionary()


async def publish_all(broker: Broker, outputs: Sequence[Outbound]) -> Sequence[Published]:
    """Publish, and return the results; raises PublishRefused unless the broker took every message
    that must not be lost.

    Best-effort messages (events that a full queue refuses, say) block nothing: their loss is
    counted.
    """
    if not outputs:
        return []
    results = await broker.publish(outputs)
    _log_lost(broker, outputs, results)
    for output, result in zip(outputs, results, strict=True):
        lost = result is Published.NACKED or (
            result is Published.RETURNED and output.if_returned is None
        )
        if lost and output.assurance is not Assurance.BEST_EFFORT:
            raise PublishRefused(
                f"the broker did not take a message for {output.exchange or 'queue'} "
                f"{output.routing_key!r}: {_reason(output, result)}"
            )
    return results


def _reason(output: Outbound, result: Published) -> str:
    if not output.exchange and is_gateway_queue(output.routing_key):
        return "its gateway, or the node of RabbitMQ that had its queue, went away"
    if result is Published.RETURNED:
        return "there is no such queue, or none is bound there; `aoi broker declare` makes them"
    return "a queue is full, or most of the nodes that have it are away"


def _log_lost(broker: Broker, outputs: Sequence[Outbound], results: Sequence[Published]) -> None:
    """Log the best-effort messages that the broker refused; the only place that knows of them."""
    refused: dict[str, Counter[str]] = defaultdict(Counter)
    for output, result in zip(outputs, results, strict=True):
        if output.assurance is Assurance.BEST_EFFORT and result is Published.NACKED:
            refused[output.exchange][output.type or output.routing_key] += 1
    for exchange, messages in refused.items():
        _seldom.setdefault(broker, SeldomLog(log)).warning(
            "not_taken",
            kind=exchange,
            exchange=exchange,
            messages=messages.total(),
            of=dict(messages.most_common(5)),
            hint=_CONSEQUENCES.get(exchange, _ANSWERS),
        )
