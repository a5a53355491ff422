"""The delivery state machine: one notification for one Application Client Token.

Theory of operation. A delivery is *sending* (steps of its plan are under way or wait for their
time) or *stored* (nothing can reach the device now) until it is settled: delivered, failed,
expired, replaced or cancelled. :func:`decide` takes a delivery and one fact and returns the
delivery after it, with the effects that the caller must carry out. It is the only place where a
delivery changes.

Rules, all of them tested by properties:

* A terminal state changes only to delivered; evidence of a device outranks that of a provider.
* A delivery that is not terminal has a deadline: whichever process dies and whichever message is
  lost, it is processed again. After that the deadline is in the future; once it has passed, only
  processing the delivery moves it.
* No attempt starts at or after ``expires_at``.
* A provider's acceptance settles only when its window ends and no other step is under way, and
  never for a wake-up. So does its receipt, while the device may still report over a connection;
  else a receipt settles at once. Neither settles what the device refused.
* The story decides nothing: without it every decision is the same.
* A fact that was seen before changes nothing; its effects are returned again (:func:`resend`), so
  that a crash between commit and publish costs a repeat and not a loss.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from aoi_events.contracts.states import DeliveryState, Evidence
from aoi_events.domain.delivery.attempts import Retry, close_windows, start_due
from aoi_events.domain.delivery.deadlines import next_deadline
from aoi_events.domain.delivery.facts import (
    Announce,
    Cancelled,
    DeadlineReached,
    Decision,
    Effect,
    Fact,
    Failed,
    Planned,
    Replaced,
    Reported,
    StartStep,
)
from aoi_events.domain.delivery.replanning import replan
from aoi_events.domain.delivery.reports import report
from aoi_events.domain.delivery.state import (
    Delivery,
    StepState,
    deliver,
    settle,
    store,
)
from aoi_events.domain.retry import Backoff


def decide(
    delivery: Delivery,
    fact: Fact,
    *,
    now: datetime,
    jitter: float,
    backoff: Backoff = Backoff(),
) -> Decision:
    """Decide the effect of ``fact`` on ``delivery`` at ``now``.

    ``jitter`` in [0, 1] spreads retries.
    """
    retry = Retry(now, jitter, backoff)
    effects: list[Effect] = []
    match fact:
        case Reported():
            changed = report(delivery, fact, retry, effects)
        case Planned():
            changed = _plan(delivery, fact, retry)
        case DeadlineReached():
            changed = delivery
        case Cancelled():
            changed = settle(delivery, DeliveryState.CANCELLED, now)
        case Replaced():
            changed = settle(delivery, DeliveryState.REPLACED, now)
        case Failed(reason):
            changed = settle(delivery, DeliveryState.FAILED, now, reason=reason)
        case _:
            assert_never(fact)
    at_deadline = isinstance(fact, DeadlineReached | Planned)
    after = _advance(changed, retry)
    if after != delivery or at_deadline:
        due = next_deadline(delivery, after, now, at_deadline=at_deadline)
        after = replace(after, published=True, deadline=due)
    if after == delivery or not delivery.published:
        # Effects that a crash may have lost are returned again.
        effects.extend(resend(after))
    else:
        effects.extend(_news(delivery, after))
    return Decision(after, tuple(effects), changed=after != delivery)


def resend(delivery: Delivery) -> tuple[Effect, ...]:
    """The effects that follow from the delivery's present state, to be carried out again."""
    if delivery.state is not DeliveryState.SENDING:
        return (Announce(),)
    return tuple(
        StartStep(index, step.attempt)
        for index, step in enumerate(delivery.steps)
        if step.unreported
    )


def _news(before: Delivery, after: Delivery) -> list[Effect]:
    """The effects of the present state that did not follow from the state before."""
    known: set[Effect] = {StartStep(index, step.attempt) for index, step in enumerate(before.steps)}
    if not before.undecided and (before.state, before.by) == (after.state, after.by):
        known.add(Announce())
    return [effect for effect in resend(after) if effect not in known]


def _plan(delivery: Delivery, fact: Planned, retry: Retry) -> Delivery:
    # An attempt whose time is over does not stand in the way; one under way does, and the release
    # waits for it.
    known = delivery if delivery.undecided else _advance(delivery, retry)
    if not known.idle:
        return known
    rested = replace(known, released=False, returns=fact.returns, planned_at=retry.at)
    steps = replan(fact.steps, known.steps, now=retry.at, expires_at=known.expires_at)
    if any(state.over is None for state in steps):
        return replace(rested, state=DeliveryState.SENDING, steps=steps)
    if known.state is DeliveryState.STORED:
        # That nothing could be planned is known as of now.
        return rested
    # A plan that waits keeps its own time.
    return replace(known, released=False)


def _settled_by(delivery: Delivery, expired: bool) -> StepState | None:
    """The step whose provider report settles the delivery now, if there is one.

    A receipt settles at once if the device cannot be about to report. Otherwise it is like an
    acceptance: it settles when its window ends and no other step is under way.
    """
    receipted = next((step for step in delivery.steps if step.receipted), None)
    if receipted is not None and not any(step.may_report for step in delivery.steps):
        return receipted
    accepted = next((step for step in delivery.steps if step.accepted), None)
    if accepted is None or expired:
        return accepted
    waits = accepted.over is None or any(step.under_way for step in delivery.steps)
    return None if waits else accepted


def _advance(delivery: Delivery, retry: Retry) -> Delivery:
    """Apply everything that follows from the time and the steps' states; runs after every fact."""
    if delivery.state.terminal:
        return delivery
    now = retry.at
    delivery = close_windows(delivery, retry)
    expired = now >= delivery.expires_at
    has_it = _settled_by(delivery, expired)
    if has_it is not None:
        return deliver(delivery, Evidence.PROVIDER, has_it.step.channel, now)
    if expired:
        return settle(delivery, DeliveryState.EXPIRED, now, reason=delivery.last_reason)
    if delivery.state is DeliveryState.SENDING:
        delivery = start_due(delivery, now)
    if all(step.over is not None for step in delivery.steps):
        reason = delivery.last_reason
        if not delivery.storable:
            return settle(delivery, DeliveryState.EXPIRED, now, reason=reason)
        if delivery.state is DeliveryState.SENDING or delivery.undecided:
            return store(delivery, now, reason)
    return delivery
