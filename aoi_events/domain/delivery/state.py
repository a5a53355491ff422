"""The record of a delivery: its plan, the state of each step, its costs, and its story.

The story is for people: no decision reads it. Only :mod:`aoi_events.domain.delivery.machine`
decides how a delivery changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.ledger import EMPTY_LEDGER, Ledger
from aoi_events.domain.planning.plans import Step

DEVICE_REFUSALS: Final[dict[str, int]] = {
    Reason.COULD_NOT_WAKE: 1,
    Reason.DISCARDED: 2,
    Reason.NO_SUCH_APPLICATION: 3,
}
"""Why a step is over when the device itself refused the delivery, each with its rank: a refusal
replaces those of a lower rank.
"""

_STORY_HEAD, _STORY_TAIL = 8, 32


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One line of a delivery's story, for people; no decision reads it. ``cost``: of the message
    that was sent, as of then.
    """

    at: datetime
    what: str
    step: int | None = None
    attempt: int | None = None
    channel: str | None = None
    detail: str | None = None
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of the present plan and its progress.

    ``attempt`` 0: not started. ``first_attempt`` was its first in this plan, and ``retries`` counts
    those after it, but not those that were not made because the provider was down. ``over``: why no
    more is expected of it. ``retry_at``: when it is retried after a refusal for now, a silence, or
    an outage of its provider.
    """

    step: Step
    attempt: int = 0
    first_attempt: int = 0
    retries: int = 0
    first_started_at: datetime | None = None
    started_at: datetime | None = None
    retry_at: datetime | None = None
    outcome: StepOutcome | None = None
    over: Reason | None = None

    @property
    def started(self) -> bool:
        """Whether the step has had an attempt."""
        return self.attempt > 0

    @property
    def under_way(self) -> bool:
        """Whether an attempt may still be acknowledged."""
        return self.started and self.over is None and self.retry_at is None

    @property
    def awaits_provider(self) -> bool:
        """Whether it waits because its provider is down, and no attempt was made."""
        outcome = self.outcome
        return (
            self.started
            and self.over is None
            and self.retry_at is not None
            and outcome is not None
            and (outcome.attempt, outcome.kind) == (self.attempt, OutcomeKind.UNAVAILABLE)
        )

    @property
    def accepted(self) -> bool:
        """Whether a provider took the content itself (not a wake-up) or reports that the device has
        it, and neither the provider nor the device reported otherwise.
        """
        return self._says(OutcomeKind.ACCEPTED) or self.receipted

    @property
    def receipted(self) -> bool:
        """Whether a provider reports that the device has the content itself, and the device did not
        report otherwise.
        """
        return self._says(OutcomeKind.RECEIPTED)

    def _says(self, kind: OutcomeKind) -> bool:
        outcome = self.outcome
        return (
            outcome is not None
            and outcome.attempt == self.attempt
            and outcome.kind is kind
            and not self.step.wake_up
            and self.over in (None, Reason.NOT_ACKNOWLEDGED)
        )

    @property
    def may_report(self) -> bool:
        """Whether the device may still report: the step goes over its connection, and nothing shows
        that it was not reached there.
        """
        outcome = self.outcome
        silence = outcome is None or outcome.attempt < self.attempt
        open_ = self.over in (None, Reason.NOT_ACKNOWLEDGED) and self.retry_at is None
        return self.step.connected and open_ and silence

    @property
    def unreported(self) -> bool:
        """Whether the present attempt is under way and there is no report on it."""
        return self.under_way and (self.outcome is None or self.outcome.attempt < self.attempt)

    def window_ends(self) -> datetime | None:
        """When the acknowledgement window of the present attempt ends."""
        if not self.under_way or self.started_at is None:
            return None
        return self.started_at + timedelta(seconds=self.step.ack_within)

    def lets_next_start_at(self) -> datetime | None:
        """When a step that waits for its retry lets the steps after it start: at once if its
        provider is down.
        """
        if self.over is not None or self.retry_at is None or self.first_started_at is None:
            return None
        if self.awaits_provider:
            return self.first_started_at
        return self.first_started_at + timedelta(seconds=self.step.ack_within)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification for one token; the row of it is the truth.

    ``storable`` is false for ``ttl=0``. ``attempts`` counts over all plans, so that an attempt's
    number is unique in the delivery. ``released``: the device came back since the plan was made,
    and a new plan is due as soon as no attempt is under way. ``published`` is false while effects
    of the last change may be unpublished. ``batch`` groups deliveries that were released together;
    ``order`` is the place in the client's backlog. ``returns`` is the client's count of returns
    when the plan was made. Of the deliveries of one sender and ``topic`` for one token, at most the
    newest is not settled. ``stored_at``: when it was stored last. ``ledger``: the cost of its
    messages.
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
    returns: int = 0
    by: Evidence | None = None
    channel: str | None = None
    reason: str | None = None
    stored_at: datetime | None = None
    settled_at: datetime | None = None
    supersedes: DeliveryState | None = None
    deadline: datetime | None = None
    published: bool = True
    released: bool = False
    batch: int | None = None
    order: int = 0
    topic: str | None = None
    ledger: Ledger = EMPTY_LEDGER
    story: tuple[StoryEntry, ...] = ()

    @property
    def undecided(self) -> bool:
        """Whether it was accepted just now: no decision was taken about it yet, and no event
        published.
        """
        return self.state is DeliveryState.STORED and self.stored_at is None

    @property
    def idle(self) -> bool:
        """Whether it is not settled and no attempt is under way, so that a new plan would do no
        harm.
        """
        return not self.state.terminal and not any(step.under_way for step in self.steps)

    @property
    def deferred(self) -> bool:
        """Whether it is not settled and its first attempt did not deliver it: it is idle, or is
        tried again.
        """
        again = self.idle or self.attempts > 1 or self.batch is not None
        return again and not self.state.terminal

    @property
    def awaits_provider(self) -> bool:
        """Whether it is not settled and one of its steps waits for a provider that is down."""
        return not self.state.terminal and any(step.awaits_provider for step in self.steps)

    @property
    def last_reason(self) -> Reason:
        """The reason for which the last ended step ended."""
        reasons = [step.over for step in self.steps if step.over is not None]
        return reasons[-1] if reasons else Reason.UNREACHABLE

    @property
    def refused_by_device(self) -> bool:
        """Whether the device refused it under the present plan, or permanently."""
        ended = self.state.terminal and self.reason in DEVICE_REFUSALS
        return ended or any(step.over in DEVICE_REFUSALS for step in self.steps)

    def current(self, step: int, attempt: int) -> bool:
        """Whether that attempt is still wanted; a channel worker asks before it submits."""
        return (
            self.state is DeliveryState.SENDING
            and 0 <= step < len(self.steps)
            and self.steps[step].attempt == attempt
            and self.steps[step].under_way
        )


def has_substitute(steps: tuple[StepState, ...], index: int) -> bool:
    """Whether another step is under way instead of this one, whose provider is down."""
    return steps[index].awaits_provider and any(
        later.under_way and later.step.start_after is None for later in steps[index + 1 :]
    )


def with_step(steps: tuple[StepState, ...], index: int, state: StepState) -> tuple[StepState, ...]:
    """The steps with ``state`` at ``index``."""
    return (*steps[:index], state, *steps[index + 1 :])


def add_story_line(
    delivery: Delivery,
    at: datetime,
    what: str,
    step: int | None = None,
    state: StepState | None = None,
    *,
    channel: str | None = None,
    detail: str | None = None,
    cost: float = 0.0,
) -> Delivery:
    """The delivery with one more line in its story; the middle of a long story is left out."""
    entry = StoryEntry(
        at,
        str(what),
        step,
        state.attempt if state else None,
        state.step.channel if state else channel,
        None if detail is None else str(detail),
        cost,
    )
    story = (*delivery.story, entry)
    if len(story) > _STORY_HEAD + _STORY_TAIL:
        story = (*story[:_STORY_HEAD], *story[-_STORY_TAIL:])
    return replace(delivery, story=story)


def settle(
    delivery: Delivery,
    state: DeliveryState,
    now: datetime,
    *,
    reason: str | None = None,
    detail: str | None = None,
) -> Delivery:
    """The delivery, ended in ``state``, unless it had ended before; the story shows ``detail``, or
    else the reason.
    """
    if delivery.state.terminal:
        return delivery
    settled = replace(
        delivery,
        state=state,
        reason=reason,
        settled_at=now,
        released=False,
    )
    return add_story_line(settled, now, state, detail=detail or reason)


def store(delivery: Delivery, now: datetime, reason: str | None) -> Delivery:
    """The delivery, waiting for the device's return, because of ``reason``."""
    stored = replace(delivery, state=DeliveryState.STORED, reason=reason, stored_at=now)
    return add_story_line(stored, now, DeliveryState.STORED, detail=reason)


def deliver(delivery: Delivery, by: Evidence, channel: str | None, now: datetime) -> Delivery:
    """The delivery, delivered over ``channel``, unless it had equal or better evidence before."""
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
    return add_story_line(settled, now, DeliveryState.DELIVERED, channel=channel, detail=f"by {by}")
