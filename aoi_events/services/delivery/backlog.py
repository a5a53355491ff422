"""The bound on what waits for one client, kept wherever a delivery is put off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.machine import Announce, Decision, Delivery, Failed, decide
from aoi_events.ports.store import Transaction

__all__ = ["bounded"]


async def bounded(
    tx: Transaction,
    decisions: Sequence[Decision],
    *,
    before: Mapping[str, Delivery],
    backlog: int,
    now: datetime,
) -> list[Decision]:
    """The decisions; those that would put a delivery off beyond ``backlog`` fail it as
    backlog_full, which is counted, so that the client is told.

    Put off is what is stored, waits for its retry, or is tried once more. Of the deliveries that
    are put off for the first time now, the newest fail; the others stay. ``before``: the rows as
    they stand in the store, without new ones. The transaction has saved nothing yet. Workers that
    put off for one client at the same moment do not see each other (they share its lock), so each
    of them may go beyond the bound by what it handles at once, and no further.
    """
    after = {decision.delivery.id: decision.delivery for decision in decisions}
    fresh = {
        row.id: row for row in after.values() if row.resting and not _admitted(before.get(row.id))
    }
    if not fresh:
        return list(decisions)
    counts = Counter(await tx.count_put_off({row.client for row in fresh.values()}))
    for row in after.values():
        known = before.get(row.id)
        counts[row.client] -= known is not None and known.put_off
        counts[row.client] += row.put_off and row.id not in fresh
    over: set[str] = set()
    # New ones have no place in the backlog yet, and come as they were sent.
    for row in sorted(fresh.values(), key=lambda row: row.order):
        counts[row.client] += 1
        if counts[row.client] > backlog:
            counts[row.client] -= 1
            over.add(row.id)
    await tx.count_lost(Counter(fresh[id_].client for id_ in over))
    return [
        _failed(decision, now)
        if decision.delivery.id in over and decision.delivery.resting
        else decision
        for decision in decisions
    ]


def _admitted(row: Delivery | None) -> bool:
    """Whether it was put off before: then it has its place."""
    return row is not None and (
        row.resting
        or row.batch is not None
        or any(step.attempt > step.first_attempt for step in row.steps)
    )


def _failed(decision: Decision, now: datetime) -> Decision:
    """The decision, ending in a failure: what it says of channels and presences stands."""
    failed = decide(decision.delivery, Failed(Reason.BACKLOG_FULL), now=now, jitter=0.0)
    others = (effect for effect in decision.effects if not isinstance(effect, Announce))
    return replace(failed, effects=(*others, *failed.effects))
