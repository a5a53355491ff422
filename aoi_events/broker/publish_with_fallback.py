"""Publish the fallback of a message that no queue took; both brokers use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aoi_events.ports.broker import Assurance, Outbound, Published


async def publish_with_fallback(
    publish: Callable[[Sequence[Outbound]], Awaitable[list[Published]]],
    messages: Sequence[Outbound],
) -> list[Published]:
    """Publish all, then the fallbacks (``if_returned``) of those that were returned.

    The result of a message whose fallback was confirmed stays RETURNED. It is NACKED where the
    fallback was not confirmed either, because the broker took responsibility for neither.
    """
    results = await publish(messages)
    returned = [
        (index, message.if_returned)
        for index, message in enumerate(messages)
        if results[index] is Published.RETURNED and message.if_returned is not None
    ]
    if not returned:
        return results
    substitutes = [substitute for _, substitute in returned]
    outcomes = await publish_with_fallback(publish, substitutes)
    for (index, substitute), outcome in zip(returned, outcomes, strict=True):
        if not (_taken(substitute, outcome) or substitute.assurance is Assurance.BEST_EFFORT):
            results[index] = Published.NACKED
    return results


def _taken(message: Outbound, outcome: Published) -> bool:
    if outcome is Published.RETURNED:
        return message.if_returned is not None
    return outcome in (Published.CONFIRMED, Published.UNCONFIRMED)
