"""The rules of the delivery state machine, checked on every decision that a test takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import (
    Announce,
    DeadlineReached,
    Decision,
    Fact,
    Planned,
    Reported,
    StartStep,
)
from aoi_events.domain.delivery.machine import decide, resend
from aoi_events.domain.delivery.state import DEVICE_REFUSALS, Delivery
from aoi_events.domain.retry import Backoff


def take(
    delivery: Delivery,
    fact: Fact,
    now: datetime,
    *,
    jitter: float = 0.5,
    backoff: Backoff = Backoff(),
) -> Decision:
    """Decide, and hold every rule that one decision must keep."""
    decision = decide(delivery, fact, now=now, jitter=jitter, backoff=backoff)
    after = decision.delivery
    assert decision.changed == (after != delivery)
    _identity_stays(delivery, after)
    _terminal_changes_only_to_delivered(delivery, decision)
    _the_better_word_stands(delivery, fact, after, now)
    _deadline(delivery, fact, after, now)
    _starts(delivery, decision, now)
    _provider_settles_last(delivery, fact, after, now)
    if not _foretold(delivery, fact, after):
        _repeat(fact, decision, now, jitter, backoff)
    if not delivery.published:
        assert set(resend(after)) <= set(decision.effects), "what may not have left is told again"
    return decision


def _foretold(before: Delivery, fact: Fact, after: Delivery) -> bool:
    """Whether it reports on an attempt that starts only now, which is impossible; repeated later,
    it would not be stray any longer.
    """
    attempt = fact.attempt if isinstance(fact, Reported) else None
    return attempt is not None and before.attempts < attempt <= after.attempts


def _identity_stays(before: Delivery, after: Delivery) -> None:
    for name in ("id", "sender", "notification", "client", "accepted_at", "expires_at", "order"):
        assert getattr(before, name) == getattr(after, name)
    assert after.attempts >= before.attempts


def _terminal_changes_only_to_delivered(before: Delivery, decision: Decision) -> None:
    after = decision.delivery
    corrected = (after.state, after.by) != (before.state, before.by)
    if before.state.terminal:
        assert after.state in (before.state, DeliveryState.DELIVERED)
        assert not (before.by is Evidence.DEVICE and corrected), "a device had the last word"
        if corrected:
            assert after.supersedes is before.state
            assert Announce() in decision.effects
        else:
            told = replace(after, published=True, deadline=None)
            if after.steps != before.steps:
                # Nothing but the story, and what keeps a receipt from correcting the end.
                assert all(step.over in DEVICE_REFUSALS for step in after.steps)
                told = replace(told, story=before.story, steps=before.steps)
            assert told == replace(before, published=True, deadline=None)
    if after.state.terminal:
        assert after.settled_at is not None
        assert not after.released
        assert (after.by is not None) == (after.state is DeliveryState.DELIVERED)
        if not before.state.terminal:
            assert after.supersedes is None
            assert decision.effects.count(Announce()) == 1


def _the_better_word_stands(before: Delivery, fact: Fact, after: Delivery, now: datetime) -> None:
    """Reports after an end: the device is always believed, a provider's receipt only if the device
    did not report before that it has it, or refuses it.
    """
    if before.by is Evidence.DEVICE:
        told = replace(after, published=before.published, deadline=before.deadline)
        assert told == before, "after the device's word nothing changes"
        return
    if isinstance(fact, Reported) and fact.kind is OutcomeKind.ACKNOWLEDGED:
        assert after.by is Evidence.DEVICE
        assert (after.settled_at, after.reason) == (now, None)
        assert after.channel == (fact.channel or before.channel)
        return
    if not before.state.terminal:
        return
    receipt = isinstance(fact, Reported) and fact.kind is OutcomeKind.RECEIPTED
    counts = receipt and before.by is None and not before.refused_by_device
    if counts and isinstance(fact, Reported) and is_of_this_plan(before, fact):
        assert (after.by, after.settled_at) == (Evidence.PROVIDER, now)
    else:
        kept = ("state", "by", "channel", "settled_at", "supersedes")
        assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def is_of_this_plan(delivery: Delivery, fact: Reported) -> bool:
    """Whether the fact names an attempt of the present plan that carried the content itself."""
    if fact.step is None or fact.attempt is None or not 0 <= fact.step < len(delivery.steps):
        return False
    state = delivery.steps[fact.step]
    made = state.attempt > 0 and state.first_attempt <= fact.attempt <= state.attempt
    return made and not state.step.wake_up


def _deadline(before: Delivery, fact: Fact, after: Delivery, now: datetime) -> None:
    if after.state.terminal:
        assert after.deadline is None or not after.published
        return
    assert after.deadline is not None
    assert now < after.expires_at
    if before.published:
        assert after.deadline <= after.expires_at
    if after.released and after.idle and after.published:
        assert after.deadline <= max(now, after.accepted_at), "the device is back: due at once"
    elif isinstance(fact, DeadlineReached | Planned) and after.published:
        assert after.deadline > now, "who looked in vain would look for ever"
    elif before.deadline is not None and before.deadline <= now:
        assert after.deadline <= before.deadline, "only who looks takes a deadline away"
    elif after.published and before.published:
        assert after.deadline > now


def _starts(before: Delivery, decision: Decision, now: datetime) -> None:
    after = decision.delivery
    starts = [effect for effect in decision.effects if isinstance(effect, StartStep)]
    assert len(starts) == len(set(starts))
    for start in starts:
        assert now < after.expires_at, "nothing is started at or after expiry"
        assert after.current(start.step, start.attempt)
    made = after.attempts - before.attempts
    fresh = {start.attempt for start in starts if start.attempt > before.attempts}
    if after.state is DeliveryState.SENDING:
        assert fresh == set(range(before.attempts + 1, after.attempts + 1))
    else:
        assert made == 0
    for index, step in enumerate(after.steps):
        assert step.attempt <= after.attempts
        assert not any(after.current(index, n) for n in (step.attempt - 1, step.attempt + 1))
        assert after.current(index, step.attempt) == (
            step.under_way and after.state is DeliveryState.SENDING
        )
        if step.retry_at is not None and step.over is None:
            assert step.retry_at < after.expires_at, "a retry stays within the TTL"


def _provider_settles_last(before: Delivery, fact: Fact, after: Delivery, now: datetime) -> None:
    newly = after.by is Evidence.PROVIDER and before.by is None
    if not newly:
        return
    assert not before.refused_by_device, "no provider outranks the device's own refusal"
    assert not after.refused_by_device
    if before.state.terminal:
        assert isinstance(fact, Reported)
        assert fact.kind is OutcomeKind.RECEIPTED, "no acceptance corrects an end"
        return
    assert any(step.accepted and not step.step.wake_up for step in after.steps)
    if now >= after.expires_at:
        return
    if any(step.receipted for step in after.steps):
        silent = [s for s in after.steps if s.step.connected and s.outcome is None]
        if not any(s.over in (None, Reason.NOT_ACKNOWLEDGED) for s in silent):
            return
    ended = [s for s in after.steps if s.accepted and s.over is Reason.NOT_ACKNOWLEDGED]
    assert ended, "the window of the accepted step had not ended"
    assert not any(step.under_way for step in after.steps), "another step was under way"


def _repeat(fact: Fact, decision: Decision, now: datetime, jitter: float, backoff: Backoff) -> None:
    again = decide(decision.delivery, fact, now=now, jitter=1.0 - jitter, backoff=backoff)
    assert not again.changed, "a repeat changes nothing"
    assert again.delivery == decision.delivery
    assert set(decision.effects) <= set(again.effects), "a repeat tells the same effects"
    assert replace(again.delivery, published=True) == replace(decision.delivery, published=True)
