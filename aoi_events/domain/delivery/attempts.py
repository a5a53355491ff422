"""The attempts of a delivery's steps: when they start, when they end, and when they are retried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.deadlines import deadline_of
from aoi_events.domain.delivery.ledger import Charge
from aoi_events.domain.delivery.state import (
    Delivery,
    StepState,
    add_story_line,
    has_substitute,
    with_step,
)
from aoi_events.domain.planning.plans import may_start
from aoi_events.domain.retry import Backoff

_SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Retry:
    """The present time, and the delay before an attempt is retried; ``jitter`` in [0, 1]."""

    at: datetime
    jitter: float
    backoff: Backoff


def retry_or_end(
    state: StepState, retry_after: float, expires_at: datetime, retry: Retry, reason: Reason
) -> StepState:
    """The step with its retry scheduled, or over for ``reason`` when the TTL ends before
    the retry.
    """
    delay = max(retry_after, retry.backoff.delay(state.retries, retry.jitter))
    retry_at = retry.at + timedelta(seconds=delay)
    if retry_at >= expires_at:
        return replace(state, over=reason, retry_at=None)
    return replace(state, retry_at=retry_at)


def wait_for_provider(
    state: StepState, seconds: float, expires_at: datetime, retry: Retry
) -> StepState:
    """The step waiting until its provider, which is down, may be asked again.

    It waits at most half of the time that is left, so that a short-lived notification is still sent
    when the provider recovers early; the step is over if hardly any time is left.
    """
    left = expires_at - retry.at
    if left <= 2 * _SOON:
        return replace(state, over=Reason.UNAVAILABLE, retry_at=None)
    return replace(state, retry_at=retry.at + min(max(timedelta(seconds=seconds), _SOON), left / 2))


def close_windows(delivery: Delivery, retry: Retry) -> Delivery:
    """The delivery after the end of acknowledgement windows: each such attempt is over, or is
    retried.
    """
    for index, state in enumerate(delivery.steps):
        ends = state.window_ends()
        if ends is None or retry.at < ends:
            continue
        if state.unreported and not state.step.connected:
            closed = retry_or_end(state, 0.0, delivery.expires_at, retry, Reason.NOT_ACKNOWLEDGED)
        else:
            closed = replace(state, over=Reason.NOT_ACKNOWLEDGED)
        delivery = add_story_line(
            replace(
                delivery,
                steps=with_step(delivery.steps, index, closed),
                ledger=delivery.ledger.unanswered(closed.attempt),
            ),
            retry.at,
            "not acknowledged",
            index,
            closed,
        )
    return delivery


def restart(delivery: Delivery, index: int, now: datetime) -> Delivery:
    """The delivery as if the present attempt of a step had started at ``now``: what the broker took
    to accept it is not the silence of the device.
    """
    state, planned_at = delivery.steps[index], delivery.planned_at
    first = now if state.first_started_at == state.started_at else state.first_started_at
    later = replace(
        delivery,
        steps=with_step(
            delivery.steps, index, replace(state, started_at=now, first_started_at=first)
        ),
        # Steps that follow after a time count from the start of the plan.
        planned_at=now if planned_at == state.started_at else planned_at,
    )
    # It may have been made due for another reason, which must not wait.
    own = delivery.deadline == deadline_of(delivery)
    return replace(later, deadline=deadline_of(later)) if own else later


def sent(state: StepState) -> str:
    """The word for an attempt in the story."""
    return "sent as wake-up" if state.step.wake_up else "sent"


def start_due(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery with a new attempt of every step that is due."""
    all_before_over = True
    for index, state in enumerate(delivery.steps):
        waits = state.retry_at is not None and now < state.retry_at
        blocked = state.over is not None or waits or has_substitute(delivery.steps, index)
        first = not state.started and may_start(
            state.step,
            planned_at=delivery.planned_at or now,
            now=now,
            all_before_over=all_before_over,
        )
        again = state.started and state.retry_at is not None
        if not blocked and (first or again):
            attempt = delivery.attempts + 1
            started = replace(
                state,
                attempt=attempt,
                first_attempt=state.first_attempt or attempt,
                retries=state.retries + int(again and not state.awaits_provider),
                first_started_at=state.first_started_at or now,
                started_at=now,
                retry_at=None,
            )
            steps = with_step(delivery.steps, index, started)
            charge = Charge(index, attempt, state.step.channel, state.step.cost)
            delivery = add_story_line(
                replace(
                    delivery,
                    attempts=attempt,
                    steps=steps,
                    ledger=delivery.ledger.charged(charge, {each.attempt for each in steps}),
                ),
                now,
                sent(started),
                index,
                started,
                cost=state.step.cost,
            )
        yields = delivery.steps[index].lets_next_start_at()
        all_before_over &= state.over is not None or (yields is not None and now >= yields)
    return delivery
