"""The attempts of a delivery's steps: when they begin, when they end, and when again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.ledger import Charge
from aoi_events.domain.delivery.state import Delivery, StepState, stood_in_for, tell, with_step
from aoi_events.domain.planning.plans import may_start
from aoi_events.domain.retry import Backoff

__all__ = ["Retry", "again", "close_windows", "hold_back", "sent", "start_due"]

_SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Retry:
    """When it is, and how long to wait before an attempt is made again; ``jitter`` in [0, 1]."""

    at: datetime
    jitter: float
    backoff: Backoff


def again(
    state: StepState, retry_after: float, expires_at: datetime, retry: Retry, reason: Reason
) -> StepState:
    """The step waiting for its next attempt, or over for ``reason`` when the TTL ends before it."""
    delay = max(retry_after, retry.backoff.delay(state.retries, retry.jitter))
    retry_at = retry.at + timedelta(seconds=delay)
    if retry_at >= expires_at:
        return replace(state, over=reason, retry_at=None)
    return replace(state, retry_at=retry_at)


def hold_back(state: StepState, seconds: float, expires_at: datetime, retry: Retry) -> StepState:
    """The step waiting until its provider, which is down, may be asked.

    Never longer than half of the time that is left to it, so that what lives briefly still goes out
    when the provider is back early; over when that is hardly any.
    """
    left = expires_at - retry.at
    if left <= 2 * _SOON:
        return replace(state, over=Reason.UNAVAILABLE, retry_at=None)
    return replace(state, retry_at=retry.at + min(max(timedelta(seconds=seconds), _SOON), left / 2))


def close_windows(delivery: Delivery, retry: Retry) -> Delivery:
    """The delivery after the attempts whose window has ended: over, or to be made again."""
    for index, state in enumerate(delivery.steps):
        ends = state.window_ends()
        if ends is None or retry.at < ends:
            continue
        if state.unheard and not state.step.connected:
            closed = again(state, 0.0, delivery.expires_at, retry, Reason.NOT_ACKNOWLEDGED)
        else:
            closed = replace(state, over=Reason.NOT_ACKNOWLEDGED)
        delivery = tell(
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


def sent(state: StepState) -> str:
    """What the story says of an attempt."""
    return "sent as wake-up" if state.step.wake_up else "sent"


def start_due(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery with an attempt of every step whose time has come."""
    all_before_over = True
    for index, state in enumerate(delivery.steps):
        waits = state.retry_at is not None and now < state.retry_at
        held = state.over is not None or waits or stood_in_for(delivery.steps, index)
        first = not state.started and may_start(
            state.step,
            planned_at=delivery.planned_at or now,
            now=now,
            all_before_over=all_before_over,
        )
        again = state.started and state.retry_at is not None
        if not held and (first or again):
            attempt = delivery.attempts + 1
            started = replace(
                state,
                attempt=attempt,
                first_attempt=state.first_attempt or attempt,
                retries=state.retries + int(again and not state.held_back),
                first_started_at=state.first_started_at or now,
                started_at=now,
                retry_at=None,
            )
            steps = with_step(delivery.steps, index, started)
            charge = Charge(index, attempt, state.step.channel, state.step.cost)
            delivery = tell(
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
        yields = delivery.steps[index].yields_at()
        all_before_over &= state.over is not None or (yields is not None and now >= yields)
    return delivery
