"""Topics: a newer notification replaces an older one that was not delivered yet (RFC 8030, 5.4).

The order in which the store accepts them decides: a worker that accepts a topic locks the client's
row exclusively, so it sees every older delivery, whatever the clocks of two workers say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.domain.delivery.facts import Decision, Replaced
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Transaction

_Key = tuple[str, str, str, str]


async def older_of_topics(tx: Transaction, decisions: Sequence[Decision]) -> Sequence[Delivery]:
    """The deliveries that these new ones replace, locked; no query without topics."""
    keys = {key for decision in decisions if (key := _key(decision.delivery)) is not None}
    return await tx.open_of_topics(keys) if keys else ()


def replaced(
    older: Sequence[Delivery], decisions: Sequence[Decision], now: datetime
) -> tuple[list[Decision], list[Decision]]:
    """The ends of ``older``, and the decisions; of each topic only the last stays open.

    The events of those that ended are not published here, so the deadlines worker publishes them:
    they are due at once, as unpublished.
    """
    last = {
        key: index
        for index, decision in enumerate(decisions)
        if (key := _key(decision.delivery)) is not None
    }
    decided = [
        decision
        if (key := _key(decision.delivery)) is None or last[key] == index
        else _ended(decision.delivery, now)
        for index, decision in enumerate(decisions)
    ]
    return [_ended(row, now) for row in older], decided


def _key(row: Delivery) -> _Key | None:
    if row.topic is None:
        return None
    return (row.client, row.fingerprint, row.sender, row.topic)


def _ended(row: Delivery, now: datetime) -> Decision:
    after = decide(row, Replaced(), now=now, jitter=0.0).delivery
    return Decision(replace(after, published=False, deadline=now), (), changed=True)
