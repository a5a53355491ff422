"""A new plan, and what of the one before it still counts: a provider's "not before".

Everything else of the old plan ends with it: the device came back, so a backoff has no reason any
more. A Retry-After is the provider's word, and holds for this delivery on that channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.state import StepState
from aoi_events.domain.planning.plans import Step

__all__ = ["replan"]


def replan(
    steps: Sequence[Step], before: Sequence[StepState], *, now: datetime, expires_at: datetime
) -> tuple[StepState, ...]:
    """The states of a new plan's ``steps`` after those of ``before``.

    A step whose channel its provider does not want before a time still to come waits for that time;
    it is over when the delivery expires first. Such a channel that is not in this plan stays in
    front as a step that is over, so that the plan after this one knows, too.
    """
    held: dict[str, tuple[datetime, StepState]] = {}
    for state in before:
        until = _not_before(state)
        known = held.get(state.step.channel)
        if until is not None and until > now and (known is None or until > known[0]):
            held[state.step.channel] = (until, state)
    planned = {step.channel for step in steps}
    absent = [
        StepState(state.step, outcome=state.outcome, over=Reason.REFUSED)
        for channel, (_, state) in held.items()
        if channel not in planned
    ]
    return (*absent, *(_state(step, held.get(step.channel), expires_at) for step in steps))


def _state(step: Step, held: tuple[datetime, StepState] | None, expires_at: datetime) -> StepState:
    if held is None:
        return StepState(step)
    until, before = held
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
    """When the provider that refused the step last will take it again, if it said so."""
    outcome = state.outcome
    if outcome is None or outcome.kind is not OutcomeKind.REFUSED or outcome.retry_after <= 0:
        return None
    return outcome.at + timedelta(seconds=outcome.retry_after)
