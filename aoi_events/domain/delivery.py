"""The delivery state machine: one notification for one Application Client Token.

Theory of operation. A delivery is *sending* (steps of its plan are under way or wait for their
time) or *stored* (nothing can reach the device now) until it is settled: delivered, failed,
expired, replaced or cancelled. :func:`decide` takes a delivery and one fact and returns the
delivery after it with the effects that somebody must now carry out. It is the only place where a
delivery changes.

Rules, all of them held by property tests:

* A terminal state changes only to delivered; evidence of a device outranks that of a provider.
* A delivery that is not terminal has a deadline: whoever dies, and whatever message is lost,
  somebody looks again. After a look it lies in the future; once it has come, only a look moves it.
* Nothing is started at or after ``expires_at``.
* A provider's acceptance settles only when its window ends and no other step is under way, and
  never for a wake-up.
* A fact that was seen before changes nothing; its effects are told again (:func:`resend`), so that
  a crash between commit and publish costs a repeat and not a loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.deadlines import deadline_of, next_look
from aoi_events.domain.delivery_facts import (
    Announce,
    Cancelled,
    CloseChannel,
    DeadlineReached,
    Decision,
    Effect,
    Fact,
    Failed,
    LosePresence,
    Planned,
    Replaced,
    Reported,
    RevokeToken,
    StartStep,
)
from aoi_events.domain.delivery_state import (
    Delivery,
    StepState,
    StoryEntry,
    settle,
    tell,
    with_step,
)
from aoi_events.domain.evidence import StepOutcome, join
from aoi_events.domain.plans import may_start
from aoi_events.domain.replanning import replan
from aoi_events.domain.retry import Backoff

__all__ = [
    "Announce",
    "Cancelled",
    "CloseChannel",
    "DeadlineReached",
    "Decision",
    "Delivery",
    "Effect",
    "Fact",
    "Failed",
    "LosePresence",
    "Planned",
    "Replaced",
    "Reported",
    "RevokeToken",
    "StartStep",
    "StepState",
    "StoryEntry",
    "deadline_of",
    "decide",
    "resend",
]


def decide(
    delivery: Delivery,
    fact: Fact,
    *,
    now: datetime,
    jitter: float,
    backoff: Backoff = Backoff(),
) -> Decision:
    """What becomes of ``delivery`` by ``fact`` at ``now``; ``jitter`` in [0, 1] spreads retries."""
    retry = _Retry(now, jitter, backoff)
    told: list[Effect] = []
    match fact:
        case Reported():
            changed = _report(delivery, fact, retry, told)
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
    looked = isinstance(fact, DeadlineReached | Planned)
    after = _advance(changed, retry)
    if after != delivery or looked:
        due = next_look(delivery, after, now, looked=looked)
        after = replace(after, published=True, deadline=due)
    if after == delivery or not delivery.published:
        # Whatever a crash may have swallowed is told again.
        told.extend(resend(after))
    else:
        told.extend(_news(delivery, after))
    return Decision(after, tuple(told), changed=after != delivery)


def resend(delivery: Delivery) -> tuple[Effect, ...]:
    """The effects that the delivery's present state implies, to be told again."""
    if delivery.state is not DeliveryState.SENDING:
        return (Announce(),)
    return tuple(
        StartStep(index, step.attempt) for index, step in enumerate(delivery.steps) if step.unheard
    )


@dataclass(frozen=True, slots=True)
class _Retry:
    at: datetime
    jitter: float
    backoff: Backoff


def _news(before: Delivery, after: Delivery) -> list[Effect]:
    known = {(index, step.attempt) for index, step in enumerate(before.steps)}
    effects: list[Effect] = [
        StartStep(index, step.attempt)
        for index, step in enumerate(after.steps)
        if after.state is DeliveryState.SENDING
        and step.unheard
        and (index, step.attempt) not in known
    ]
    if after.state is not DeliveryState.SENDING and (after.state, after.by) != (
        before.state if before.story else None,
        before.by,
    ):
        effects.append(Announce())
    return effects


def _plan(delivery: Delivery, fact: Planned, retry: _Retry) -> Delivery:
    # An attempt whose time is over does not stand in the way; one under way does, and the release
    # waits for it.
    known = _advance(delivery, retry) if delivery.story else delivery
    if not known.resting:
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


def _report(delivery: Delivery, fact: Reported, retry: _Retry, told: list[Effect]) -> Delivery:
    if fact.closes_channel and fact.channel is not None:
        told.append(CloseChannel(fact.channel, fact.detail or fact.kind, fact.at))
    match fact.kind:
        case OutcomeKind.ACKNOWLEDGED:
            return _delivered(delivery, Evidence.DEVICE, fact.channel, retry.at)
        case OutcomeKind.NO_SUCH_APPLICATION:
            told.append(RevokeToken())
            return settle(
                delivery, DeliveryState.FAILED, retry.at, reason=Reason.NO_SUCH_APPLICATION
            )
        case OutcomeKind.DISCARDED:
            why, detail = Reason.DISCARDED, fact.detail or None
            return settle(delivery, DeliveryState.FAILED, retry.at, reason=why, detail=detail)
        case OutcomeKind.COULD_NOT_WAKE:
            return _could_not_wake(delivery, fact, retry.at)
        case OutcomeKind.ROUTE_LOST if fact.epoch is not None:
            told.append(LosePresence(fact.epoch))
            return _report_step(delivery, fact, retry)
        case (
            OutcomeKind.ACCEPTED
            | OutcomeKind.REFUSED
            | OutcomeKind.ROUTE_LOST
            | OutcomeKind.PARKED
            | OutcomeKind.REJECTED
            | OutcomeKind.RECEIPTED
        ):
            return _report_step(delivery, fact, retry)
        case _:
            assert_never(fact.kind)


def _report_step(delivery: Delivery, fact: Reported, retry: _Retry) -> Delivery:
    index = fact.step
    if index is None or fact.attempt is None or not 0 <= index < len(delivery.steps):
        return delivery
    state = delivery.steps[index]
    receipted = fact.kind is OutcomeKind.RECEIPTED and not state.step.wake_up
    # Attempts are numbered over all plans. These are surely of this step in this plan; a receipt of
    # an earlier plan could be one of a wake-up.
    first = state.attempt - state.retries
    if receipted and state.started and first <= fact.attempt <= state.attempt:
        return _delivered(delivery, Evidence.PROVIDER, state.step.channel, retry.at)
    if fact.attempt != state.attempt or not state.started or delivery.state.terminal:
        return delivery
    outcome = join(
        state.outcome,
        StepOutcome(fact.attempt, fact.kind, fact.at, fact.detail, fact.retry_after),
    )
    if outcome == state.outcome or outcome is None:
        return delivery
    merged = replace(state, outcome=outcome)
    if state.outcome is not None and (state.outcome.attempt, state.outcome.kind) == (
        outcome.attempt,
        outcome.kind,
    ):
        # The same said with an earlier time: known more exactly, but nothing happened.
        return replace(delivery, steps=with_step(delivery.steps, index, merged))
    if state.over is None:
        merged = _heard(merged, outcome, delivery.expires_at, retry)
    return tell(
        replace(delivery, steps=with_step(delivery.steps, index, merged)),
        retry.at,
        fact.kind,
        index,
        merged,
        detail=fact.detail or None,
    )


def _heard(
    state: StepState, outcome: StepOutcome, expires_at: datetime, retry: _Retry
) -> StepState:
    """The step after its strongest outcome changed."""
    match outcome.kind:
        case OutcomeKind.ACCEPTED | OutcomeKind.RECEIPTED:
            # Late word of an attempt that was to be made again: it is under way after all.
            return replace(state, retry_at=None)
        case OutcomeKind.REFUSED:
            return _again(state, outcome.retry_after, expires_at, retry, Reason.REFUSED)
        case OutcomeKind.ROUTE_LOST:
            return replace(state, over=Reason.ROUTE_LOST, retry_at=None)
        case OutcomeKind.PARKED:
            return replace(state, over=Reason.PARKED, retry_at=None)
        case OutcomeKind.REJECTED:
            return replace(state, over=Reason.REFUSED, retry_at=None)
        case _:
            return state


def _again(
    state: StepState, retry_after: float, expires_at: datetime, retry: _Retry, reason: Reason
) -> StepState:
    """The step waiting for its next attempt, or over for ``reason`` when the TTL ends before it."""
    delay = max(retry_after, retry.backoff.delay(state.retries, retry.jitter))
    retry_at = retry.at + timedelta(seconds=delay)
    if retry_at >= expires_at:
        return replace(state, over=reason, retry_at=None)
    return replace(state, retry_at=retry_at)


def _could_not_wake(delivery: Delivery, fact: Reported, now: datetime) -> Delivery:
    if delivery.state is not DeliveryState.SENDING or not _of_this_plan(delivery, fact):
        return delivery
    if not delivery.storable:
        return settle(delivery, DeliveryState.EXPIRED, now, reason=Reason.COULD_NOT_WAKE)
    over = tuple(
        replace(step, over=step.over or Reason.COULD_NOT_WAKE, retry_at=None)
        for step in delivery.steps
    )
    return _store(replace(delivery, steps=over), now, Reason.COULD_NOT_WAKE)


def _of_this_plan(delivery: Delivery, fact: Reported) -> bool:
    """Whether a device's word is about the present plan and no repeat from before it."""
    if fact.attempt is not None:
        return any(step.attempt == fact.attempt for step in delivery.steps if step.started)
    return delivery.planned_at is None or fact.at >= delivery.planned_at


def _advance(delivery: Delivery, retry: _Retry) -> Delivery:
    """Everything that time and the steps' states imply; runs after every fact."""
    if delivery.state.terminal:
        return delivery
    now = retry.at
    delivery = _close_windows(delivery, retry)
    accepted = next((s for s in delivery.steps if s.accepted), None)
    expired = now >= delivery.expires_at
    if (
        accepted is not None
        and (expired or accepted.over is not None)
        and (expired or not any(step.under_way for step in delivery.steps))
    ):
        return _delivered(delivery, Evidence.PROVIDER, accepted.step.channel, now)
    if expired:
        return settle(delivery, DeliveryState.EXPIRED, now, reason=delivery.last_reason)
    if delivery.state is DeliveryState.SENDING:
        delivery = _start_due(delivery, now)
    if all(step.over is not None for step in delivery.steps):
        reason = delivery.last_reason
        if not delivery.storable:
            return settle(delivery, DeliveryState.EXPIRED, now, reason=reason)
        if delivery.state is DeliveryState.SENDING or not delivery.story:
            return _store(delivery, now, reason)
    return delivery


def _close_windows(delivery: Delivery, retry: _Retry) -> Delivery:
    for index, state in enumerate(delivery.steps):
        ends = state.window_ends()
        if ends is None or retry.at < ends:
            continue
        if state.unheard and not state.step.connected:
            closed = _again(state, 0.0, delivery.expires_at, retry, Reason.NOT_ACKNOWLEDGED)
        else:
            closed = replace(state, over=Reason.NOT_ACKNOWLEDGED)
        delivery = tell(
            replace(delivery, steps=with_step(delivery.steps, index, closed)),
            retry.at,
            "not acknowledged",
            index,
            closed,
        )
    return delivery


def _start_due(delivery: Delivery, now: datetime) -> Delivery:
    all_before_over = True
    for index, state in enumerate(delivery.steps):
        held = state.over is not None or (state.retry_at is not None and now < state.retry_at)
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
                retries=state.retries + 1 if again else 0,
                first_started_at=state.first_started_at or now,
                started_at=now,
                retry_at=None,
            )
            delivery = tell(
                replace(
                    delivery, attempts=attempt, steps=with_step(delivery.steps, index, started)
                ),
                now,
                "sent as wake-up" if state.step.wake_up else "sent",
                index,
                started,
            )
        yields = delivery.steps[index].yields_at()
        all_before_over &= state.over is not None or (yields is not None and now >= yields)
    return delivery


def _store(delivery: Delivery, now: datetime, reason: str | None) -> Delivery:
    stored = replace(delivery, state=DeliveryState.STORED, reason=reason)
    return tell(stored, now, DeliveryState.STORED, detail=reason)


def _delivered(delivery: Delivery, by: Evidence, channel: str | None, now: datetime) -> Delivery:
    if delivery.state is DeliveryState.DELIVERED and (
        delivery.by is Evidence.DEVICE or by is Evidence.PROVIDER
    ):
        return delivery
    settled = replace(
        delivery,
        state=DeliveryState.DELIVERED,
        by=by,
        channel=channel or delivery.channel,
        reason=None,
        settled_at=now,
        supersedes=delivery.state if delivery.state.terminal else None,
        released=False,
    )
    return tell(settled, now, DeliveryState.DELIVERED, channel=channel, detail=f"by {by}")
