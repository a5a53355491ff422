"""Publishes the messages of a worker, and counts those that may be lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aoi_events.errors import PublishRefused
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Broker, Outbound, Published

log = get_logger(__name__)


async def publish_all(broker: Broker, outputs: Sequence[Outbound]) -> None:
    """Publish; raises PublishRefused unless the broker took every message that must not be lost.

    Best-effort messages (events that a full queue refuses, say) block nothing: their loss is
    counted.
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
    """Log the best-effort messages that the broker refused; the only place that knows of them."""
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
