"""The delivery state machine: one notification for one Application Client Token.

Theory of operation. A delivery is *sending* (steps of its plan are under way or wait for their
time) or *stored* (nothing can reach the device now) until it is settled: delivered, failed, expired,
replaced or cancelled. :func:`decide` takes a delivery and one fact and returns the delivery after it
with the effects that somebody must now carry out. It is the only place where a delivery changes.

Rules, all of them held by property tests:

* A terminal state changes only to delivered; evidence of a device outranks that of a provider.
* A delivery that is not terminal has a deadline, in the future: whoever dies, and whatever message is
  lost, somebody looks again.
* Nothing is started at or after ``expires_at``.
* A provider's acceptance settles only when its window ends and no other step is under way, and never
  for a wake-up.
* A fact that was seen before changes nothing; its effects are told again (:func:`resend`), so that a
  crash between commit and publish costs a repeat and not a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.evidence import StepOutcome, join
from aoi_events.domain.plans import Step, may_start, starts_at
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
    "Reported",
    "RevokeToken",
    "StartStep",
    "StepState",
    "StoryEntry",
    "deadline_of",
    "decide",
    "resend",
]

_STORY_HEAD, _STORY_TAIL = 8, 32


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One line of what happened, for people."""

    at: datetime
    what: str
    step: int | None = None
    attempt: int | None = None
    channel: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of the present plan and how far it got.

    ``attempt`` 0: not started. ``retries`` counts the attempts after the first. ``over``: why nothing
    more is expected of it. ``retry_at``: refused for now, or not heard of; waits until then.
    """

    step: Step
    attempt: int = 0
    retries: int = 0
    first_started_at: datetime | None = None
    started_at: datetime | None = None
    retry_at: datetime | None = None
    outcome: StepOutcome | None = None
    over: Reason | None = None

    @property
    def started(self) -> bool:
        """Whether an attempt was ever made."""
        return self.attempt > 0

    @property
    def under_way(self) -> bool:
        """Whether an attempt may still be acknowledged."""
        return self.started and self.over is None and self.retry_at is None

    @property
    def accepted(self) -> bool:
        """Whether a provider took the content itself (not a wake-up), did not give it back, and the
        device did not say otherwise.
        """
        outcome = self.outcome
        return (
            outcome is not None
            and outcome.attempt == self.attempt
            and outcome.kind is OutcomeKind.ACCEPTED
            and not self.step.wake_up
            and self.over in (None, Reason.NOT_ACKNOWLEDGED)
        )

    @property
    def unheard(self) -> bool:
        """Whether the present attempt is under way and nobody said anything of it."""
        return self.under_way and (self.outcome is None or self.outcome.attempt < self.attempt)

    def window_ends(self) -> datetime | None:
        """When the present attempt counts as not acknowledged."""
        if not self.under_way or self.started_at is None:
            return None
        return self.started_at + timedelta(seconds=self.step.ack_within)

    def yields_at(self) -> datetime | None:
        """When a step that waits for its retry lets the steps after it start."""
        if self.over is not None or self.retry_at is None or self.first_started_at is None:
            return None
        return self.first_started_at + timedelta(seconds=self.step.ack_within)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification for one token; the row of it is the truth.

    ``storable`` is false for ``ttl=0``. ``attempts`` counts over all plans, so that an attempt's
    number names it for ever. ``released``: somebody made it due because the device came back.
    ``published`` is false while effects of the last change may not have left yet. ``batch`` groups
    deliveries that were released together; ``order`` is the place in the client's backlog.
    """

    id: str
    sender: str
    notification: str
    client: str
    application: str
    instance: str
    fingerprint: str
    accepted_at: datetime
    expires_at: datetime
    storable: bool = True
    state: DeliveryState = DeliveryState.STORED
    steps: tuple[StepState, ...] = ()
    attempts: int = 0
    planned_at: datetime | None = None
    by: Evidence | None = None
    channel: str | None = None
    reason: str | None = None
    settled_at: datetime | None = None
    supersedes: DeliveryState | None = None
    deadline: datetime | None = None
    published: bool = True
    released: bool = False
    batch: int | None = None
    order: int = 0
    story: tuple[StoryEntry, ...] = ()

    @property
    def resting(self) -> bool:
        """Not settled, and no attempt is under way: a new plan would do no harm."""
        return not self.state.terminal and not any(step.under_way for step in self.steps)

    def current(self, step: int, attempt: int) -> bool:
        """Whether that attempt is still wanted; a channel worker asks before it submits."""
        return (
            self.state is DeliveryState.SENDING
            and 0 <= step < len(self.steps)
            and self.steps[step].attempt == attempt
            and self.steps[step].under_way
        )


# --- facts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """The channels that can be used now were looked up: at acceptance, or because of a release."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """An outcome of a step, or of the delivery as a whole when a device says so."""

    kind: OutcomeKind
    at: datetime
    step: int | None = None
    attempt: int | None = None
    channel: str | None = None
    detail: str = ""
    retry_after: float = 0.0
    closes_channel: bool = False
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """Somebody looks again because it is time."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The sender withdrew the notification."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It can never be delivered: the client or token is gone, or the backlog is full."""

    reason: Reason


Fact = Planned | Reported | DeadlineReached | Cancelled | Failed

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartStep:
    """Hand this attempt of this step to its channel."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the event of the delivery's present state."""


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """The address is bad: close the client's channel of this type."""

    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """The app instance is gone: its token ends."""


@dataclass(frozen=True, slots=True)
class LosePresence:
    """The connection of that epoch is gone; a newer one stays."""

    epoch: int


Effect = StartStep | Announce | CloseChannel | RevokeToken | LosePresence


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery after a fact, what must be done now, and whether anything changed."""

    delivery: Delivery
    effects: tuple[Effect, ...]
    changed: bool


# --- decisions ----------------------------------------------------------------------------------


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
            changed = _settle(delivery, DeliveryState.CANCELLED, now)
        case Failed(reason):
            changed = _settle(delivery, DeliveryState.FAILED, now, reason=reason)
        case _:
            assert_never(fact)
    looked = isinstance(fact, DeadlineReached | Planned)
    after = _advance(changed, retry)
    if after != delivery or looked:
        after = replace(after, published=delivery.published or looked)
        after = replace(after, deadline=_next_look(delivery, after, now, looked=looked))
    if after == delivery or (looked and not delivery.published):
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


def deadline_of(delivery: Delivery) -> datetime | None:
    """When time alone changes the delivery next; None once it is settled."""
    if delivery.state.terminal:
        return None
    times = [delivery.expires_at]
    if delivery.state is DeliveryState.SENDING:
        times.extend(_moments(delivery))
    return min(times)


def _moments(delivery: Delivery) -> Iterator[datetime]:
    """When windows end, retries and steps start. After a decision all of them lie in the future."""
    # When the steps so far let the next one start; None while one of them is under way or waits
    # for its own start, because the end of that is a moment itself.
    yielded: datetime | None = delivery.planned_at
    for state in delivery.steps:
        if state.over is not None:
            continue
        if not state.started:
            own = starts_at(state.step, delivery.planned_at) if delivery.planned_at else None
            yield from (moment for moment in (own, yielded) if moment is not None)
            yielded = None
        elif state.retry_at is not None:
            yield state.retry_at
            yields = state.yields_at()
            yielded = max(yielded, yields) if yielded is not None and yields is not None else None
        else:
            ends = state.window_ends()
            if ends is not None:
                yield ends
            yielded = None


def _next_look(
    before: Delivery, after: Delivery, now: datetime, *, looked: bool
) -> datetime | None:
    """The deadline after a decision.

    Only who looks at a deadline may postpone it: whatever made the delivery due (a release, a
    revocation) is not lost to an outcome that arrives at the same moment.
    """
    if after.state.terminal:
        return None if after.published else before.deadline
    due = deadline_of(after)
    if after.released and after.resting:
        due = now
    if looked or before.deadline is None or due is None:
        return due
    return min(due, before.deadline)


@dataclass(frozen=True, slots=True)
class _Retry:
    now: datetime
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
    rested = replace(known, released=False)
    if not fact.steps or retry.now >= known.expires_at:
        return rested
    return replace(
        rested,
        state=DeliveryState.SENDING,
        steps=tuple(StepState(step) for step in fact.steps),
        planned_at=retry.now,
    )


def _report(delivery: Delivery, fact: Reported, retry: _Retry, told: list[Effect]) -> Delivery:
    if fact.closes_channel and fact.channel is not None:
        told.append(CloseChannel(fact.channel, fact.detail or fact.kind))
    match fact.kind:
        case OutcomeKind.ACKNOWLEDGED:
            return _delivered(delivery, Evidence.DEVICE, fact.channel, retry.now)
        case OutcomeKind.NO_SUCH_APPLICATION:
            told.append(RevokeToken())
            return _settle(
                delivery, DeliveryState.FAILED, retry.now, reason=Reason.NO_SUCH_APPLICATION
            )
        case OutcomeKind.COULD_NOT_WAKE:
            return _could_not_wake(delivery, fact, retry.now)
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
    if (
        receipted
        and state.started
        and state.attempt - state.retries <= fact.attempt <= state.attempt
    ):
        return _delivered(delivery, Evidence.PROVIDER, state.step.channel, retry.now)
    if fact.attempt != state.attempt or delivery.state.terminal:
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
        return replace(delivery, steps=_with(delivery.steps, index, merged))
    if state.over is None:
        merged = _heard(merged, outcome, delivery.expires_at, retry)
    return _tell(
        replace(delivery, steps=_with(delivery.steps, index, merged)),
        retry.now,
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
    retry_at = retry.now + timedelta(seconds=delay)
    if retry_at >= expires_at:
        return replace(state, over=reason, retry_at=None)
    return replace(state, retry_at=retry_at)


def _could_not_wake(delivery: Delivery, fact: Reported, now: datetime) -> Delivery:
    if delivery.state is not DeliveryState.SENDING or not _of_this_plan(delivery, fact):
        return delivery
    if not delivery.storable:
        return _settle(delivery, DeliveryState.EXPIRED, now, reason=Reason.COULD_NOT_WAKE)
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
    now = retry.now
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
        return _settle(delivery, DeliveryState.EXPIRED, now, reason=_last_reason(delivery))
    if delivery.state is DeliveryState.SENDING:
        delivery = _start_due(delivery, now)
    if all(step.over is not None for step in delivery.steps):
        reason = _last_reason(delivery)
        if not delivery.storable:
            return _settle(delivery, DeliveryState.EXPIRED, now, reason=reason)
        if delivery.state is DeliveryState.SENDING or not delivery.story:
            return _store(delivery, now, reason)
    return delivery


def _close_windows(delivery: Delivery, retry: _Retry) -> Delivery:
    for index, state in enumerate(delivery.steps):
        ends = state.window_ends()
        if ends is None or retry.now < ends:
            continue
        if state.unheard and not state.step.connected:
            closed = _again(state, 0.0, delivery.expires_at, retry, Reason.NOT_ACKNOWLEDGED)
        else:
            closed = replace(state, over=Reason.NOT_ACKNOWLEDGED)
        delivery = _tell(
            replace(delivery, steps=_with(delivery.steps, index, closed)),
            retry.now,
            "not acknowledged",
            index,
            closed,
        )
    return delivery


def _start_due(delivery: Delivery, now: datetime) -> Delivery:
    all_before_over = True
    for index, state in enumerate(delivery.steps):
        waits = not state.started and may_start(
            state.step,
            planned_at=delivery.planned_at or now,
            now=now,
            all_before_over=all_before_over,
        )
        again = state.retry_at is not None and state.over is None and now >= state.retry_at
        if waits or again:
            attempt = delivery.attempts + 1
            started = replace(
                state,
                attempt=attempt,
                retries=state.retries + 1 if again else 0,
                first_started_at=state.first_started_at or now,
                started_at=now,
                retry_at=None,
            )
            delivery = _tell(
                replace(delivery, attempts=attempt, steps=_with(delivery.steps, index, started)),
                now,
                "sent as wake-up" if state.step.wake_up else "sent",
                index,
                started,
            )
            state = started
        yields = state.yields_at()
        all_before_over &= state.over is not None or (yields is not None and now >= yields)
    return delivery


def _store(delivery: Delivery, now: datetime, reason: str | None) -> Delivery:
    stored = replace(delivery, state=DeliveryState.STORED, reason=reason)
    return _tell(stored, now, DeliveryState.STORED, detail=reason)


def _settle(
    delivery: Delivery, state: DeliveryState, now: datetime, *, reason: str | None = None
) -> Delivery:
    if delivery.state.terminal:
        return delivery
    settled = replace(
        delivery,
        state=state,
        reason=reason,
        settled_at=now,
        released=False,
    )
    return _tell(settled, now, state, detail=reason)


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
    return _tell(settled, now, DeliveryState.DELIVERED, channel=channel, detail=f"by {by}")


def _last_reason(delivery: Delivery) -> str:
    reasons = [step.over for step in delivery.steps if step.over is not None]
    return reasons[-1] if reasons else Reason.UNREACHABLE


def _with(steps: tuple[StepState, ...], index: int, state: StepState) -> tuple[StepState, ...]:
    return (*steps[:index], state, *steps[index + 1 :])


def _tell(
    delivery: Delivery,
    at: datetime,
    what: str,
    step: int | None = None,
    state: StepState | None = None,
    *,
    channel: str | None = None,
    detail: str | None = None,
) -> Delivery:
    entry = StoryEntry(
        at,
        str(what),
        step,
        state.attempt if state else None,
        state.step.channel if state else channel,
        None if detail is None else str(detail),
    )
    story = (*delivery.story, entry)
    if len(story) > _STORY_HEAD + _STORY_TAIL:
        story = (*story[:_STORY_HEAD], *story[-_STORY_TAIL:])
    return replace(delivery, story=story)
