"""What is known of a step, and the merge that makes duplicates and reordering harmless.

Outcomes of one step form a join-semilattice: of two, the later attempt stands; within an attempt,
the higher rank; within a rank, the earlier report. ``join`` is commutative, associative and
idempotent, so any worker may apply any outcome any number of times in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind

__all__ = ["RANK", "StepOutcome", "join"]

RANK: Final[dict[OutcomeKind, int]] = {kind: rank for rank, kind in enumerate(OutcomeKind)}
"""Rank of each kind: the order in which OutcomeKind lists them, weakest first."""

# Differences are exact; a float of seconds would call two times equal that are not.
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The strongest outcome known of a step's attempt. ``retry_after`` in seconds."""

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
