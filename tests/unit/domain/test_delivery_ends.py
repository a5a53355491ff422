"""How deliveries rest, come back and end, one example for each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.deadlines import deadline_of
from aoi_events.domain.delivery.facts import (
    Announce,
    Cancelled,
    DeadlineReached,
    Fact,
    Failed,
    Planned,
    Replaced,
    Reported,
    RevokeToken,
    StartStep,
)
from aoi_events.domain.delivery.machine import resend
from tests.support.histories import SMS, WEBSOCKET, at, follow, planned, said
from tests.support.rules import take
from tests.support.strategies import a_delivery


def test_no_such_application_fails_and_revokes_the_token() -> None:
    """The device's own refusal ends the delivery, whatever else is under way."""
    gone = take(planned(WEBSOCKET, SMS), said(OutcomeKind.NO_SUCH_APPLICATION, 1), at(1))
    assert gone.delivery.state is DeliveryState.FAILED
    assert gone.delivery.reason == Reason.NO_SUCH_APPLICATION
    assert gone.effects == (RevokeToken(), Announce())


def test_what_the_device_discarded_fails_and_keeps_the_token() -> None:
    """It cannot be delivered, also not later; the story tells why, and the next one may do."""
    word = Reported(OutcomeKind.DISCARDED, at(1), 0, 1, "websocket", "could not decrypt it")
    thrown = take(planned(WEBSOCKET, SMS), word, at(1))
    assert thrown.delivery.state is DeliveryState.FAILED
    assert thrown.delivery.reason == Reason.DISCARDED
    assert thrown.delivery.story[-1].detail == "could not decrypt it"
    assert thrown.effects == (Announce(),)


def test_could_not_wake_stores() -> None:
    """The app cannot run now: the delivery waits for the next contact."""
    asleep = take(planned(WEBSOCKET, SMS), said(OutcomeKind.COULD_NOT_WAKE, 1), at(1))
    assert asleep.delivery.state is DeliveryState.STORED
    assert asleep.delivery.deadline == at(3600)


def test_could_not_wake_outweighs_the_providers_acceptance() -> None:
    """The device has spoken: neither now nor at expiry does the acceptance deliver."""
    asleep = follow(
        planned(SMS),
        [(1, said(OutcomeKind.ACCEPTED, 1)), (2, said(OutcomeKind.COULD_NOT_WAKE, 2))],
    )
    assert asleep.delivery.state is DeliveryState.STORED
    expired = take(asleep.delivery, DeadlineReached(), at(3600))
    assert expired.delivery.state is DeliveryState.EXPIRED
    assert expired.delivery.reason == Reason.COULD_NOT_WAKE


@pytest.mark.parametrize("attempt", [1, None])
def test_could_not_wake_of_an_earlier_plan_changes_nothing(attempt: int | None) -> None:
    """A repeat that arrives after the device came back does not stop the new plan."""
    word = said(OutcomeKind.COULD_NOT_WAKE, 1, attempt=attempt)
    again = follow(planned(WEBSOCKET), [(1, word), (5, Planned((WEBSOCKET,)))]).delivery
    repeated = take(again, word, at(6))
    assert not repeated.changed
    assert repeated.delivery.current(0, 2)


def test_nothing_active_stores_until_expiry() -> None:
    """Without a channel the delivery is stored, announced once, and expires."""
    stored = take(a_delivery(ttl=60), Planned(()), at(0))
    assert stored.delivery.state is DeliveryState.STORED
    assert stored.effects == (Announce(),)
    last = stored.delivery.story[-1]
    assert (last.at, last.what, last.detail) == (at(0), "stored", Reason.UNREACHABLE)
    expired = take(stored.delivery, DeadlineReached(), at(60))
    assert expired.delivery.state is DeliveryState.EXPIRED
    assert expired.delivery.reason == Reason.UNREACHABLE


def test_an_exhausted_plan_stores_and_a_return_plans_anew() -> None:
    """Stored, then due because the device came back: a new plan with a new attempt."""
    stored = follow(planned(WEBSOCKET), [(10, DeadlineReached())]).delivery
    assert stored.state is DeliveryState.STORED
    released = replace(stored, released=True, deadline=at(100))
    again = take(released, Planned((WEBSOCKET,)), at(100))
    assert again.effects == (StartStep(0, 2),)
    assert not again.delivery.released


def test_a_return_that_brings_no_channel_is_over() -> None:
    """The look-up is noted although it found nothing: a return before it is not noticed again."""
    stored = take(a_delivery(), Planned(()), at(0)).delivery
    assert stored.planned_at == at(0)
    released = replace(stored, released=True, deadline=at(5))
    again = take(released, Planned(()), at(6)).delivery
    assert (again.released, again.planned_at, again.deadline) == (False, at(6), again.expires_at)


def test_a_return_while_an_attempt_is_under_way_is_not_forgotten() -> None:
    """The device came back before the window ended: the exhausted plan is followed by a new one."""
    under_way = replace(planned(WEBSOCKET), released=True)
    exhausted = take(under_way, DeadlineReached(), at(10)).delivery
    assert exhausted.state is DeliveryState.STORED
    assert exhausted.deadline is not None
    assert exhausted.deadline <= at(10)
    assert take(exhausted, Planned((WEBSOCKET,)), at(10)).effects == (StartStep(0, 2),)


def test_an_outcome_does_not_take_a_release_away() -> None:
    """Made due by the device's return, it stays due whatever arrives before it is processed."""
    waiting = take(planned(SMS), said(OutcomeKind.REFUSED, 1, retry_after=300), at(1)).delivery
    released = replace(waiting, released=True, deadline=at(2))
    rejected = take(released, said(OutcomeKind.REJECTED, 2), at(2.1)).delivery
    assert rejected.state is DeliveryState.STORED
    assert rejected.released
    assert rejected.deadline is not None
    assert rejected.deadline <= at(2)


def test_a_revocation_outlives_outcomes_whatever_the_clocks_say() -> None:
    """The clock of the worker that made it due may be some seconds ahead of that which merges an
    outcome.
    """
    revoked = replace(planned(WEBSOCKET, SMS), deadline=at(5))
    refused = follow(
        revoked,
        [
            (1, said(OutcomeKind.ROUTE_LOST, 1, epoch=1)),
            (2, said(OutcomeKind.REFUSED, 2, step=1, attempt=2, retry_after=900)),
        ],
    )
    assert refused.delivery.deadline == at(5)
    ended = take(refused.delivery, Failed(Reason.REASSIGNED), at(5))
    assert ended.delivery.deadline is None


def test_an_outcome_does_not_take_a_revocation_away() -> None:
    """Made due because its client was retired, it stays due although its next step starts."""
    revoked = replace(planned(WEBSOCKET, SMS), deadline=at(1))
    lost = take(revoked, said(OutcomeKind.ROUTE_LOST, 1), at(1.1)).delivery
    assert lost.deadline == at(1)


def test_now_or_never_is_never_stored() -> None:
    """ttl=0: not reachable now means expired now; else it expires with the first window."""
    assert take(a_delivery(storable=False), Planned(()), at(0)).delivery.state is (
        DeliveryState.EXPIRED
    )
    silent = follow(planned(WEBSOCKET, ttl=10, storable=False), [(10, DeadlineReached())])
    assert silent.delivery.state is DeliveryState.EXPIRED
    asleep = take(
        planned(WEBSOCKET, ttl=10, storable=False), said(OutcomeKind.COULD_NOT_WAKE, 1), at(1)
    )
    assert asleep.delivery.state is DeliveryState.EXPIRED


def test_expiry_stops_everything() -> None:
    """At its expiry the delivery ends although a step is under way, and nothing starts any more."""
    expired = take(planned(WEBSOCKET, SMS, ttl=10), DeadlineReached(), at(10))
    assert expired.delivery.state is DeliveryState.EXPIRED
    assert expired.effects == (Announce(),)
    assert not expired.delivery.current(0, 1)


@pytest.mark.parametrize(
    "end",
    [DeadlineReached(), Failed(Reason.REASSIGNED), Cancelled()],
    ids=lambda f: type(f).__name__,
)
def test_a_late_acknowledgement_corrects_any_end(end: Fact) -> None:
    """A device's word is the truth, even late; the event names the state that it corrects."""
    ended = follow(planned(WEBSOCKET, ttl=10), [(10, end)]).delivery
    corrected = take(ended, said(OutcomeKind.ACKNOWLEDGED, 11, channel="websocket"), at(99))
    assert corrected.delivery.state is DeliveryState.DELIVERED
    assert corrected.delivery.supersedes is ended.state
    assert corrected.delivery.reason is None
    assert corrected.effects == (Announce(),)


def test_a_device_upgrades_a_providers_word() -> None:
    """Delivered by provider becomes delivered by device, and says what it supersedes."""
    upgraded = follow(
        planned(SMS),
        [
            (1, said(OutcomeKind.ACCEPTED, 1)),
            (30, DeadlineReached()),
            (40, said(OutcomeKind.ACKNOWLEDGED, 40)),
        ],
    )
    assert upgraded.delivery.by is Evidence.DEVICE
    assert upgraded.delivery.supersedes is DeliveryState.DELIVERED
    assert upgraded.effects == (Announce(),)


def test_the_first_end_stands() -> None:
    """Settlement is first-come: cancelling what has expired changes nothing."""
    expired = follow(planned(WEBSOCKET, ttl=10), [(10, DeadlineReached())]).delivery
    for late in (Cancelled(), Replaced(), Failed(Reason.BACKLOG_FULL)):
        assert take(expired, late, at(11)).delivery == expired


def test_a_hedge_starts_unless_the_first_step_was_acknowledged() -> None:
    """Step 2 starts after its head start, while step 1 is still under way."""
    hedged = planned(WEBSOCKET, replace(SMS, start_after=2.0))
    assert hedged.deadline == at(2)
    assert take(hedged, DeadlineReached(), at(2)).effects == (StartStep(1, 2),)
    done = take(hedged, said(OutcomeKind.ACKNOWLEDGED, 1), at(1)).delivery
    assert take(done, DeadlineReached(), at(2)).effects == (Announce(),)


def test_a_hedge_starts_early_when_the_first_step_failed() -> None:
    """One rule for all plans: its time has come, or all before it are over."""
    hedged = planned(WEBSOCKET, replace(SMS, start_after=5.0))
    assert take(hedged, said(OutcomeKind.ROUTE_LOST, 1), at(1)).effects == (StartStep(1, 2),)


def test_parallel_steps_start_together() -> None:
    """All at 0; an acknowledgement over one of them ends the other."""
    both = take(a_delivery(), Planned((WEBSOCKET, replace(SMS, start_after=0.0))), at(0))
    assert both.effects == (StartStep(0, 1), StartStep(1, 2))
    done = take(both.delivery, said(OutcomeKind.ACKNOWLEDGED, 1, step=1, attempt=2), at(1))
    assert not done.delivery.current(0, 1)


def test_effects_lost_in_a_crash_are_told_again() -> None:
    """What a worker committed but perhaps did not publish follows from the row alone."""
    assert resend(planned(WEBSOCKET, SMS)) == (StartStep(0, 1),)
    accepted = take(planned(SMS), said(OutcomeKind.ACCEPTED, 1), at(1)).delivery
    assert resend(accepted) == ()
    parallel = planned(WEBSOCKET, replace(SMS, start_after=0.0))
    held = replace(parallel, published=False, deadline=at(5))
    lost = take(held, said(OutcomeKind.ROUTE_LOST, 1), at(1))
    assert lost.effects == (StartStep(1, 2),), "it may not have left with the first"
    assert lost.delivery.published


def test_a_stray_outcome_changes_nothing() -> None:
    """Steps and attempts that never were, or are no more, are of no account."""
    delivery = planned(WEBSOCKET, SMS)
    for step, attempt in ((0, 2), (0, 0), (1, 0), (1, 1), (7, 1), (-1, 1), (None, 1), (0, None)):
        for kind in (OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.RECEIPTED):
            decision = take(delivery, said(kind, 1, step=step, attempt=attempt), at(1))
            assert decision.delivery == delivery


def test_a_long_story_keeps_its_beginning_and_its_end() -> None:
    """Hundreds of retries do not make a row of hundreds of lines."""
    delivery = planned(SMS, ttl=28 * 24 * 3600.0)
    for _ in range(300):
        assert delivery.deadline is not None
        delivery = take(delivery, DeadlineReached(), delivery.deadline).delivery
    assert len(delivery.story) == 40
    assert delivery.story[0].attempt == 1
    assert delivery.story[-1].attempt == delivery.attempts
    assert deadline_of(delivery) == delivery.deadline


def test_a_return_while_an_attempt_is_under_way_makes_nothing_due() -> None:
    """The new plan waits for the attempt's window, and until then the delivery is not due."""
    hedged = replace(planned(WEBSOCKET, replace(SMS, start_after=2.0)), released=True)
    looked = take(hedged, Planned((WEBSOCKET,)), at(2)).delivery
    assert looked.released
    assert looked.deadline == at(10)
