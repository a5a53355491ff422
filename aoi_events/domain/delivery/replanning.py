"""A new plan for a delivery, and what it takes over from the one before: a provider's "not before".

Everything else of the old plan ends with it: the device came back, so there is no reason for a
backoff any more. A Retry-After is the provider's wish, and is respected for this delivery on that
channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.state import StepState
from aoi_events.domain.planning.plans import Step


def replan(
    steps: Sequence[Step], before: Sequence[StepState], *, now: datetime, expires_at: datetime
) -> tuple[StepState, ...]:
    """The states of a new plan's ``steps`` after those of ``before``.

    A step whose provider wants no attempt before a future time waits for that time; it is over when
    the delivery expires first. Such a channel that is not in this plan stays in front as a step
    that is over, so that the next plan knows the time, too.
    """
    not_before: dict[str, tuple[datetime, StepState]] = {}
    for state in before:
        until = _not_before(state)
        known = not_before.get(state.step.channel)
        if until is not None and until > now and (known is None or until > known[0]):
            not_before[state.step.channel] = (until, state)
    planned = {step.channel for step in steps}
    absent = [
        StepState(state.step, outcome=state.outcome, over=Reason.REFUSED)
        for channel, (_, state) in not_before.items()
        if channel not in planned
    ]
    return (*absent, *(_state(step, not_before.get(step.channel), expires_at) for step in steps))


def _state(
    step: Step, not_before: tuple[datetime, StepState] | None, expires_at: datetime
) -> StepState:
    if not_before is None:
        return StepState(step)
    until, before = not_before
    waits = until < expires_at
    return StepState(
        step,
        # From when the channel was first tried the steps behind it have waited long enough.
        first_started_at=before.first_started_at,
        retry_at=until if waits else None,
        outcome=before.outcome,
        over=None if waits else Reason.REFUSED,
    )


def _not_before(state: StepState) -> datetime | None:
    """The time that the provider named when it refused the step last, if it did."""
    outcome = state.outcome
    if outcome is None or outcome.kind is not OutcomeKind.REFUSED or outcome.retry_after <= 0:
        return None
    return outcome.at + timedelta(seconds=outcome.retry_after)
