"""Outcomes of steps, and the merge that makes duplicates and reordering harmless.

Outcomes of one step form a join-semilattice: of two, the later attempt stands; within an attempt,
the higher rank; within a rank, the earlier report. ``join`` is commutative, associative and
idempotent, so any worker may apply any outcome any number of times in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind

RANK: Final[dict[OutcomeKind, int]] = {
    OutcomeKind.UNAVAILABLE: 10,
    OutcomeKind.ACCEPTED: 20,
    OutcomeKind.REFUSED: 30,
    OutcomeKind.ROUTE_LOST: 40,
    OutcomeKind.PARKED: 50,
    OutcomeKind.REJECTED: 60,
    OutcomeKind.RECEIPTED: 70,
    OutcomeKind.COULD_NOT_WAKE: 80,
    OutcomeKind.DISCARDED: 90,
    OutcomeKind.NO_SUCH_APPLICATION: 100,
    OutcomeKind.ACKNOWLEDGED: 110,
}
"""Of two outcomes of one attempt, that with the higher rank stands."""

# Differences are exact; a float of seconds would call two times equal that are not.
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The strongest known outcome of a step's attempt. ``retry_after`` in seconds."""

    attempt: int
    kind: OutcomeKind
    at: datetime
    detail: str = ""
    retry_after: float = 0.0

    @property
    def _order(self) -> tuple[int, int, timedelta, str, float]:
        return (
            self.attempt,
            RANK[self.kind],
            _LATEST - self.at,
            self.detail,
            self.retry_after,
        )


def join(a: StepOutcome | None, b: StepOutcome | None) -> StepOutcome | None:
    """The least upper bound of two outcomes; None is the bottom."""
    if a is None or b is None:
        return a or b
    return a if a._order >= b._order else b
