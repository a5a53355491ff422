"""What a delivery has cost, by its story."""

from __future__ import annotations

from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery_state import Delivery

__all__ = ["spent"]

_NOT_TAKEN: Final[frozenset[str]] = frozenset(
    {
        OutcomeKind.UNAVAILABLE,
        OutcomeKind.REFUSED,
        OutcomeKind.REJECTED,
        OutcomeKind.ROUTE_LOST,
        OutcomeKind.PARKED,
    }
)


def spent(delivery: Delivery) -> float:
    """What its messages cost together, in the unit of all costs, as of when they were sent.

    One that nobody took costs nothing; one of which nothing was heard counts. Of a very long story
    the middle is left out, and what was sent then does not count.
    """
    last = {
        entry.attempt: entry.what
        for entry in delivery.story
        if entry.attempt is not None and not entry.cost
    }
    return sum(
        entry.cost
        for entry in delivery.story
        if entry.attempt is not None and last.get(entry.attempt) not in _NOT_TAKEN
    )
