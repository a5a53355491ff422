"""The limit on a client's backlog, applied wherever a delivery is deferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.facts import Announce, Decision, Failed
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Transaction


async def limit_backlog(
    tx: Transaction,
    decisions: Sequence[Decision],
    *,
    before: Mapping[str, Delivery],
    backlog: int,
    now: datetime,
) -> list[Decision]:
    """The decisions; a delivery beyond the client's ``backlog`` fails as backlog_full.

    Such failures are counted, so that the client learns of them. A delivery is in the backlog when
    it is stored, waits for its retry, or is tried again (:attr:`Delivery.deferred`). Of the
    deliveries that enter the backlog now, the newest fail; the others stay. ``before``: the rows as
    they are in the store, without new ones. The transaction has saved nothing yet. Workers that
    defer deliveries of one client at the same moment do not see each other (they share its lock),
    so each of them may exceed the limit by what it handles at once, and no further.
    """
    after = {decision.delivery.id: decision.delivery for decision in decisions}
    fresh = {
        row.id: row for row in after.values() if row.idle and not _admitted(before.get(row.id))
    }
    if not fresh:
        return list(decisions)
    counts = Counter(await tx.count_deferred({row.client for row in fresh.values()}))
    for row in after.values():
        known = before.get(row.id)
        counts[row.client] -= known is not None and known.deferred
        counts[row.client] += row.deferred and row.id not in fresh
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
        if decision.delivery.id in over and decision.delivery.idle
        else decision
        for decision in decisions
    ]


def _admitted(row: Delivery | None) -> bool:
    """Whether the delivery was in the backlog before."""
    return row is not None and (
        row.idle
        or row.batch is not None
        or any(step.attempt > step.first_attempt for step in row.steps)
    )


def _failed(decision: Decision, now: datetime) -> Decision:
    """The decision with a failure instead: its effects on channels and presences stay."""
    failed = decide(decision.delivery, Failed(Reason.BACKLOG_FULL), now=now, jitter=0.0)
    others = (effect for effect in decision.effects if not isinstance(effect, Announce))
    return replace(failed, effects=(*others, *failed.effects))
