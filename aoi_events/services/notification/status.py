"""The status of deliveries for senders and operators: their states and stories."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Final

from aoi_events.contracts.answers import DeliveryStatus, Hop
from aoi_events.domain.delivery.costs import Attempt, doubtful, spent
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Transaction

_OVERTAKEN: Final = "and not submitted: it had ended before"


async def delivery_statuses(
    tx: Transaction, rows: Sequence[Delivery], *, story: bool = True
) -> list[DeliveryStatus]:
    """The status of deliveries, with their ``story`` or without; it contains no secret.

    A message to another channel than the one that delivered first is shown as sent only if its
    worker noted that it was submitted.
    """
    asked = {attempt for row in rows for attempt in doubtful(row)}
    overtaken = asked - set(await tx.submitted(asked)) if asked else asked
    return [_status(row, overtaken, story=story) for row in rows]


def _status(delivery: Delivery, overtaken: Collection[Attempt], *, story: bool) -> DeliveryStatus:
    hops = []
    for entry in delivery.story if story else ():
        late = (delivery.id, entry.step, entry.attempt) in overtaken and entry.cost > 0
        shown = {"detail": _OVERTAKEN, "cost": None} if late else {"cost": entry.cost or None}
        hops.append(Hop(**asdict(entry) | shown))
    return DeliveryStatus(
        delivery=delivery.id,
        fingerprint=delivery.fingerprint,
        state=delivery.state,
        by=delivery.by,
        channel=delivery.channel,
        cost=spent(delivery, overtaken=overtaken),
        reason=delivery.reason,
        accepted_at=delivery.accepted_at,
        expires_at=delivery.expires_at,
        settled_at=delivery.settled_at,
        story=tuple(hops),
    )
