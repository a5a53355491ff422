"""When somebody must look at a delivery again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.state import Delivery, stood_in_for
from aoi_events.domain.planning.plans import starts_at

__all__ = ["deadline_of", "next_look"]


def deadline_of(delivery: Delivery) -> datetime | None:
    """When somebody must look at the delivery again; None once it is settled.

    A delivery that was released and rests is due at once: the answer is a time that has come.
    """
    if delivery.state.terminal:
        return None
    if delivery.released and delivery.resting:
        return delivery.accepted_at
    times = [delivery.expires_at]
    if delivery.state is DeliveryState.SENDING:
        times.extend(_moments(delivery))
    return min(times)


def _moments(delivery: Delivery) -> Iterator[datetime]:
    """When windows end, retries and steps start. After a decision all of them lie in the future."""
    # When the steps so far let the next one start; None while one of them is under way or waits
    # for its own start, because the end of that is a moment itself.
    yielded: datetime | None = delivery.planned_at
    for index, state in enumerate(delivery.steps):
        if state.over is not None:
            continue
        if not state.started:
            own = starts_at(state.step, delivery.planned_at) if delivery.planned_at else None
            starts = [moment for moment in (own, yielded) if moment is not None]
            yield from (max(moment, state.retry_at or moment) for moment in starts)
            yielded = _later(yielded, state.yields_at())
        elif state.retry_at is not None:
            # Where another stands in for it: its end is the moment.
            if not stood_in_for(delivery.steps, index):
                yield state.retry_at
            yielded = _later(yielded, state.yields_at())
        else:
            ends = state.window_ends()
            if ends is not None:
                yield ends
            yielded = None


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    """The later of two times; None when either is not known."""
    return max(a, b) if a is not None and b is not None else None


def next_look(before: Delivery, after: Delivery, now: datetime, *, looked: bool) -> datetime | None:
    """The deadline after a decision.

    Only who looks takes a deadline away that has come, or that somebody made: what made the
    delivery due (a revocation, say) is not lost to an outcome that arrives at the same moment, or
    at a worker whose clock is behind.
    """
    due = deadline_of(after)
    if looked or due is None or before.deadline is None:
        return due
    own = deadline_of(before)
    made = own is not None and before.deadline < own
    return min(due, before.deadline) if made or before.deadline <= now else due
