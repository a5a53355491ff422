"""Reports on a delivery, by a provider, the broker, or the device itself.

A provider reports on one attempt of one step, and its reports are merged as evidence. The device
reports on the delivery as a whole, and outranks all others: after its refusal no acceptance and no
receipt of the same plan delivers the delivery, whichever came first. Only a delivery that was
settled *by provider* before the device reported stays delivered, because a terminal state changes
only to delivered; then the story shows the device's report.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.attempts import Retry, retry_or_end, sent, wait_for_provider
from aoi_events.domain.delivery.evidence import StepOutcome, join
from aoi_events.domain.delivery.facts import (
    CloseChannel,
    Effect,
    LosePresence,
    Reported,
    RevokeToken,
)
from aoi_events.domain.delivery.state import (
    DEVICE_REFUSALS,
    Delivery,
    StepState,
    add_story_line,
    deliver,
    settle,
    store,
    with_step,
)


def report(delivery: Delivery, fact: Reported, retry: Retry, effects: list[Effect]) -> Delivery:
    """The delivery after an outcome; effects that follow are added to ``effects``."""
    if fact.closes_channel and fact.channel is not None:
        effects.append(CloseChannel(fact.channel, fact.detail or None, fact.at))
    match fact.kind:
        case OutcomeKind.ACKNOWLEDGED:
            return deliver(delivery, Evidence.DEVICE, fact.channel, retry.at)
        case OutcomeKind.NO_SUCH_APPLICATION:
            return _no_such_application(delivery, fact, retry.at, effects)
        case OutcomeKind.DISCARDED:
            return _failed_by_device(delivery, fact, Reason.DISCARDED, retry.at)
        case OutcomeKind.COULD_NOT_WAKE:
            return _put_back(delivery, fact, Reason.COULD_NOT_WAKE, retry.at)
        case OutcomeKind.ROUTE_LOST if fact.epoch is not None:
            effects.append(LosePresence(fact.epoch))
            return _report_step(delivery, fact, retry)
        case (
            OutcomeKind.UNAVAILABLE
            | OutcomeKind.ACCEPTED
            | OutcomeKind.REFUSED
            | OutcomeKind.ROUTE_LOST
            | OutcomeKind.PARKED
            | OutcomeKind.REJECTED
            | OutcomeKind.RECEIPTED
        ):
            return _report_step(delivery, fact, retry)
        case _:
            assert_never(fact.kind)


def _report_step(delivery: Delivery, fact: Reported, retry: Retry) -> Delivery:
    index = fact.step
    if index is None or fact.attempt is None or not 0 <= index < len(delivery.steps):
        return delivery
    state = delivery.steps[index]
    attempt = fact.attempt
    if _receipts(state, fact):
        if delivery.state.terminal:
            return _corrected(delivery, state, retry.at)
        # That the device has an earlier attempt's message is no less true of the step.
        attempt = state.attempt
    if attempt != state.attempt or not state.started or delivery.state.terminal:
        return delivery
    outcome = join(
        state.outcome, StepOutcome(attempt, fact.kind, fact.at, fact.detail, fact.retry_after)
    )
    if outcome == state.outcome or outcome is None:
        return delivery
    merged = replace(state, outcome=outcome)
    if state.outcome is not None and (state.outcome.attempt, state.outcome.kind) == (
        outcome.attempt,
        outcome.kind,
    ):
        # The same report with an earlier time: the time is corrected, and nothing happened.
        return replace(delivery, steps=with_step(delivery.steps, index, merged))
    merged = _after_outcome(merged, outcome, delivery.expires_at, retry)
    sending = delivery.state is DeliveryState.SENDING or merged.under_way
    known = _shortened(delivery, index) if fact.kind is OutcomeKind.UNAVAILABLE else delivery
    return add_story_line(
        replace(
            known,
            state=DeliveryState.SENDING if sending else delivery.state,
            steps=with_step(delivery.steps, index, merged),
            ledger=delivery.ledger.reported(attempt, fact.kind),
        ),
        retry.at,
        fact.kind,
        index,
        merged,
        detail=fact.detail or None,
    )


def _shortened(delivery: Delivery, index: int) -> Delivery:
    """The delivery without the last but one try in its story, if that ended like the one before it:
    an outage may have hundreds, of which the first and the last are enough.
    """
    story = delivery.story
    last = [(entry.what, entry.step) for entry in story[-4:]]
    tried = [(OutcomeKind.UNAVAILABLE, index), (sent(delivery.steps[index]), index)]
    return replace(delivery, story=story[:-2]) if last == [*tried, *tried] else delivery


def _receipts(state: StepState, fact: Reported) -> bool:
    """Whether the provider reports that the device has the content of this step.

    Attempts are numbered over all plans. Those from the step's first on are surely of this step in
    this plan; a receipt of an earlier plan could be one of a wake-up.
    """
    return (
        fact.kind is OutcomeKind.RECEIPTED
        and fact.attempt is not None
        and not state.step.wake_up
        and state.started
        and (state.first_attempt or state.attempt) <= fact.attempt <= state.attempt
    )


def _corrected(delivery: Delivery, state: StepState, now: datetime) -> Delivery:
    """The delivery, delivered by a late receipt after it had ended, unless the device
    refused it.
    """
    if delivery.refused_by_device:
        return delivery
    return deliver(delivery, Evidence.PROVIDER, state.step.channel, now)


def _after_outcome(
    state: StepState, outcome: StepOutcome, expires_at: datetime, retry: Retry
) -> StepState:
    """The step after its strongest outcome changed."""
    if state.over is not None:
        # A receipt corrects an earlier report of the provider; its window goes on, or is over.
        final = (*DEVICE_REFUSALS, Reason.NOT_ACKNOWLEDGED)
        receipt = outcome.kind is OutcomeKind.RECEIPTED and not state.step.wake_up
        return replace(state, over=None) if receipt and state.over not in final else state
    match outcome.kind:
        case OutcomeKind.ACCEPTED | OutcomeKind.RECEIPTED:
            # Late word of an attempt that was to be made again: it is under way after all.
            return replace(state, retry_at=None)
        case OutcomeKind.UNAVAILABLE:
            return wait_for_provider(state, outcome.retry_after, expires_at, retry)
        case OutcomeKind.REFUSED:
            return retry_or_end(state, outcome.retry_after, expires_at, retry, Reason.REFUSED)
        case OutcomeKind.ROUTE_LOST:
            return replace(state, over=Reason.ROUTE_LOST, retry_at=None)
        case OutcomeKind.PARKED:
            return replace(state, over=Reason.PARKED, retry_at=None)
        case OutcomeKind.REJECTED:
            return replace(state, over=Reason.REFUSED, retry_at=None)
        case _:
            return state


def _failed_by_device(
    delivery: Delivery, fact: Reported, reason: Reason, now: datetime
) -> Delivery:
    noted = _refused(delivery, fact, reason, now)
    # A reason that the fact itself tells needs no words; what was thrown away has some.
    detail = fact.detail or None if reason is Reason.DISCARDED else None
    return settle(noted, DeliveryState.FAILED, now, reason=reason, detail=detail)


def _no_such_application(
    delivery: Delivery, fact: Reported, now: datetime, effects: list[Effect]
) -> Delivery:
    """End the token, unless the app may have registered since the device was asked.

    Registrations take another way than outcomes, and each of them counts as a return. Then the
    device is asked once more, and its answer to that plan counts.
    """
    if not _of_this_plan(delivery, fact):
        return delivery
    if fact.returns > delivery.returns:
        return _put_back(delivery, fact, Reason.NO_SUCH_APPLICATION, now)
    effects.append(RevokeToken())
    return _failed_by_device(delivery, fact, Reason.NO_SUCH_APPLICATION, now)


def _put_back(delivery: Delivery, fact: Reported, reason: Reason, now: datetime) -> Delivery:
    """The delivery, stored until the device's next return, or until one that has happened since."""
    if not _of_this_plan(delivery, fact):
        return delivery
    noted = _refused(delivery, fact, reason, now)
    if noted == delivery or delivery.state is not DeliveryState.SENDING:
        return noted
    if not delivery.storable:
        return settle(noted, DeliveryState.EXPIRED, now, reason=reason)
    return store(noted, now, reason)


def _refused(delivery: Delivery, fact: Reported, reason: Reason, now: datetime) -> Delivery:
    """The delivery with the device's refusal recorded at every step.

    After that no provider report about this plan settles it any more. If that is all it changes,
    the story shows it.
    """
    rank = DEVICE_REFUSALS[reason]
    known = any(DEVICE_REFUSALS.get(step.over or "", 0) >= rank for step in delivery.steps)
    if known or delivery.by is Evidence.DEVICE:
        return delivery
    steps = tuple(replace(step, over=reason, retry_at=None) for step in delivery.steps)
    noted = replace(delivery, steps=steps)
    if delivery.state is DeliveryState.STORED:
        noted = replace(noted, reason=reason)
    if not steps or delivery.state is DeliveryState.SENDING:
        return noted
    detail = fact.detail or None
    return add_story_line(noted, now, fact.kind, channel=fact.channel, detail=detail)


def _of_this_plan(delivery: Delivery, fact: Reported) -> bool:
    """Whether a device's report is about the present plan, and not a repeat from before it."""
    if fact.attempt is not None:
        return any(step.attempt == fact.attempt for step in delivery.steps if step.started)
    return delivery.planned_at is None or fact.at >= delivery.planned_at
