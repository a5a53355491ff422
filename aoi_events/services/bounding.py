"""The bound on what waits for one client, kept wherever a delivery becomes stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.states import DeliveryState, Reason
from aoi_events.domain.delivery import Announce, Decision, Failed, decide
from aoi_events.ports.store import Transaction

__all__ = ["bounded"]


async def bounded(
    tx: Transaction,
    decisions: Sequence[Decision],
    *,
    stored: Collection[str],
    backlog: int,
    now: datetime,
) -> list[Decision]:
    """The decisions; those that would store a delivery beyond ``backlog`` fail it as backlog_full,
    which is counted, so that the client is told.

    Of the deliveries that become stored now, the newest fail; what is stored already stays.
    ``stored``: IDs of those that were stored before. The transaction has saved nothing yet. Workers
    that store for one client at the same moment do not see each other (they share its lock), so
    each of them may go beyond the bound by what it handles at once, and no further.
    """
    after = {decision.delivery.id: decision.delivery for decision in decisions}
    fresh = [
        row for row in after.values() if row.state is DeliveryState.STORED and row.id not in stored
    ]
    if not fresh:
        return list(decisions)
    counts = Counter(await tx.count_stored({row.client for row in fresh}))
    counts.subtract(
        row.client
        for row in after.values()
        if row.id in stored and row.state is not DeliveryState.STORED
    )
    over: set[str] = set()
    # New ones have no place in the backlog yet, and come as they were sent.
    for row in sorted(fresh, key=lambda row: row.order):
        counts[row.client] += 1
        if counts[row.client] > backlog:
            counts[row.client] -= 1
            over.add(row.id)
    await tx.count_lost(Counter(row.client for row in fresh if row.id in over))
    return [
        _failed(decision, now)
        if decision.delivery.id in over and decision.delivery.state is DeliveryState.STORED
        else decision
        for decision in decisions
    ]


def _failed(decision: Decision, now: datetime) -> Decision:
    """The decision, ending in a failure: what it says of channels and presences stands."""
    failed = decide(decision.delivery, Failed(Reason.BACKLOG_FULL), now=now, jitter=0.0)
    others = (effect for effect in decision.effects if not isinstance(effect, Announce))
    return replace(failed, effects=(*others, *failed.effects))
