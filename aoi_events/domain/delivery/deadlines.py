"""The deadline of a delivery: when it must be processed again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.state import Delivery, has_substitute
from aoi_events.domain.planning.plans import starts_at


def deadline_of(delivery: Delivery) -> datetime | None:
    """When the delivery must be processed again; None once it is settled.

    A delivery that is released and idle is due at once: the answer is a time in the past.
    """
    if delivery.state.terminal:
        return None
    if delivery.released and delivery.idle:
        return delivery.accepted_at
    times = [delivery.expires_at]
    if delivery.state is DeliveryState.SENDING:
        times.extend(_moments(delivery))
    return min(times)


def _moments(delivery: Delivery) -> Iterator[datetime]:
    """When windows end, and when retries and steps start. After a decision all of them are in the
    future.
    """
    # When the steps so far let the next one start; None while one of them is under way or waits
    # for its own start, because the end of that is a moment itself.
    next_may_start: datetime | None = delivery.planned_at
    for index, state in enumerate(delivery.steps):
        if state.over is not None:
            continue
        if not state.started:
            own = starts_at(state.step, delivery.planned_at) if delivery.planned_at else None
            starts = [moment for moment in (own, next_may_start) if moment is not None]
            yield from (max(moment, state.retry_at or moment) for moment in starts)
            next_may_start = _later(next_may_start, state.lets_next_start_at())
        elif state.retry_at is not None:
            # Where another stands in for it: its end is the moment.
            if not has_substitute(delivery.steps, index):
                yield state.retry_at
            next_may_start = _later(next_may_start, state.lets_next_start_at())
        else:
            ends = state.window_ends()
            if ends is not None:
                yield ends
            next_may_start = None


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    """The later of two times; None when either is unknown."""
    return max(a, b) if a is not None and b is not None else None


def next_deadline(
    before: Delivery, after: Delivery, now: datetime, *, at_deadline: bool
) -> datetime | None:
    """The deadline after a decision.

    Only processing at the deadline (``at_deadline``) removes a deadline that has passed, or that
    was set from outside: the reason for which the delivery was made due (a revocation, say) is not
    lost to an outcome that arrives at the same moment, or at a worker whose clock is behind.
    """
    due = deadline_of(after)
    if at_deadline or due is None or before.deadline is None:
        return due
    own = deadline_of(before)
    made = own is not None and before.deadline < own
    return min(due, before.deadline) if made or before.deadline <= now else due
