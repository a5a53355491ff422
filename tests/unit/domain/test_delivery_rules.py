"""The rules of routing and delivery, one example each; read it as documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery import (
    Announce,
    Cancelled,
    CloseChannel,
    DeadlineReached,
    Decision,
    Delivery,
    Fact,
    Failed,
    LosePresence,
    Planned,
    Reported,
    RevokeToken,
    StartStep,
    deadline_of,
    resend,
)
from aoi_events.domain.plans import Step
from tests.strategies import EPOCH, a_delivery
from tests.unit.domain.rules import take

WEBSOCKET = Step("websocket", start_after=0.0, ack_within=10.0, connected=True)
SMS = Step("sms", start_after=None, ack_within=30.0)
BEHIND = replace(WEBSOCKET, start_after=None)
WAKE_UP = replace(SMS, wake_up=True)


def at(seconds: float) -> datetime:
    """That many seconds after acceptance."""
    return EPOCH + timedelta(seconds=seconds)


def planned(*steps: Step, ttl: float = 3600.0, storable: bool = True) -> Delivery:
    """A delivery accepted and planned at 0 s."""
    return take(a_delivery(ttl=ttl, storable=storable), Planned(steps), at(0)).delivery


def said(
    kind: OutcomeKind,
    when: float,
    step: int | None = 0,
    attempt: int | None = 1,
    *,
    retry_after: float = 0.0,
    closes_channel: bool = False,
    channel: str | None = None,
    epoch: int | None = None,
    detail: str = "",
) -> Reported:
    """An outcome."""
    return Reported(
        kind,
        at(when),
        step,
        attempt,
        channel=channel,
        retry_after=retry_after,
        closes_channel=closes_channel,
        epoch=epoch,
        detail=detail,
    )


def follow(delivery: Delivery, facts: Sequence[tuple[float, Fact]]) -> Decision:
    """The last decision after (seconds, fact) in turn."""
    decision = Decision(delivery, (), changed=False)
    for when, fact in facts:
        decision = take(decision.delivery, fact, at(when))
    return decision


def test_a_connected_device_acknowledges() -> None:
    """The step starts at once; the device's acknowledgement delivers, with the evidence."""
    decision = take(a_delivery(), Planned((WEBSOCKET, SMS)), at(0))
    assert decision.effects == (StartStep(0, 1),)
    assert decision.delivery.state is DeliveryState.SENDING
    assert decision.delivery.deadline == at(10)

    done = take(
        decision.delivery, said(OutcomeKind.ACKNOWLEDGED, 0.2, channel="websocket"), at(0.2)
    )
    assert done.effects == (Announce(),)
    assert done.delivery.state is DeliveryState.DELIVERED
    assert (done.delivery.by, done.delivery.channel) == (Evidence.DEVICE, "websocket")
    assert done.delivery.deadline is None


def test_a_cut_connection_falls_back_by_deadline() -> None:
    """A connection that is cut without a word never says 'failed': the deadline does."""
    later = take(planned(WEBSOCKET, SMS), DeadlineReached(), at(10))
    assert later.effects == (StartStep(1, 2),)
    assert later.delivery.steps[0].over is Reason.NOT_ACKNOWLEDGED
    assert later.delivery.deadline == at(40)


def test_a_lost_route_falls_back_at_once() -> None:
    """'Route lost' ends that presence and starts the next step without waiting."""
    lost = take(planned(WEBSOCKET, SMS), said(OutcomeKind.ROUTE_LOST, 0.1, epoch=7), at(0.1))
    assert lost.effects == (LosePresence(7), StartStep(1, 2))


def test_a_device_outranks_an_earlier_step() -> None:
    """The first step's late acknowledgement delivers while the second is under way."""
    done = follow(
        planned(WEBSOCKET, SMS),
        [(10, DeadlineReached()), (11, said(OutcomeKind.ACKNOWLEDGED, 11))],
    )
    assert done.delivery.by is Evidence.DEVICE


def test_a_transient_refusal_is_retried_as_late_as_the_provider_asks() -> None:
    """Retry-After outweighs a shorter backoff; the retry is a new attempt of the same step."""
    refused = take(planned(SMS), said(OutcomeKind.REFUSED, 1, retry_after=20), at(1))
    assert refused.effects == ()
    assert refused.delivery.steps[0].retry_at == at(21)
    assert not refused.delivery.current(0, 1)

    again = take(refused.delivery, DeadlineReached(), at(21))
    assert again.effects == (StartStep(0, 2),)
    assert again.delivery.steps[0].retries == 1


def test_a_retry_that_would_come_too_late_ends_the_step() -> None:
    """Retries stay within the TTL: what remains is to store it for the device's return."""
    refused = take(planned(SMS, ttl=60), said(OutcomeKind.REFUSED, 1, retry_after=3600), at(1))
    assert refused.delivery.state is DeliveryState.STORED
    assert refused.delivery.reason == Reason.REFUSED
    assert refused.effects == (Announce(),)


def test_a_retry_exactly_at_expiry_is_too_late() -> None:
    """Expiry itself belongs to the past: nothing is started there."""
    refused = take(planned(SMS, ttl=60), said(OutcomeKind.REFUSED, 1, retry_after=59), at(1))
    assert refused.delivery.state is DeliveryState.STORED


def test_a_step_that_waits_long_for_its_retry_lets_the_next_one_start() -> None:
    """Fallback waits for an unacknowledged step as long as its window, retries or not."""
    waiting = take(
        planned(replace(SMS, start_after=0.0), BEHIND),
        said(OutcomeKind.REFUSED, 1, retry_after=600),
        at(1),
    )
    assert waiting.delivery.deadline == at(30)
    assert take(waiting.delivery, DeadlineReached(), at(30)).effects == (StartStep(1, 2),)


def test_a_third_step_behind_a_retry_does_not_keep_the_delivery_due() -> None:
    """While the second step is under way its window is next, not the time that has passed."""
    third = Step("webpush", start_after=None, ack_within=30.0)
    second = follow(
        planned(replace(SMS, start_after=0.0), BEHIND, third),
        [(1, said(OutcomeKind.REFUSED, 1, retry_after=600)), (30, DeadlineReached())],
    )
    assert second.delivery.deadline == at(40)


def test_a_permanent_refusal_closes_the_channel_and_starts_the_next_step() -> None:
    """The address is bad: its channel closes, and the next step starts."""
    rejected = take(
        planned(replace(SMS, start_after=0.0), BEHIND),
        said(
            OutcomeKind.REJECTED, 1, closes_channel=True, channel="sms", detail="unknown subscriber"
        ),
        at(1),
    )
    assert rejected.effects == (CloseChannel("sms", "unknown subscriber"), StartStep(1, 2))


def test_a_parked_step_fails_that_step_only() -> None:
    """The next step starts; the delivery goes on."""
    parked = take(planned(WEBSOCKET, SMS), said(OutcomeKind.PARKED, 1), at(1))
    assert parked.effects == (StartStep(1, 2),)


def test_silence_of_a_connectionless_channel_is_tried_again() -> None:
    """Its worker or provider is slow or died: the step is made once more, as a new attempt."""
    silent = take(planned(SMS), DeadlineReached(), at(30))
    assert silent.delivery.steps[0].retry_at is not None
    assert silent.delivery.state is DeliveryState.SENDING


def test_a_late_acceptance_cancels_the_second_attempt() -> None:
    """The provider answers after the window: nothing is submitted twice."""
    late = follow(planned(SMS), [(30, DeadlineReached()), (30.2, said(OutcomeKind.ACCEPTED, 30.2))])
    assert late.delivery.by is Evidence.PROVIDER
    assert late.effects == (Announce(),)


def test_a_repeated_refusal_counts_once() -> None:
    """Two reports of one refusal, out of order, do not double the wait."""
    once = take(planned(SMS), said(OutcomeKind.REFUSED, 2, detail="busy"), at(2))
    twice = take(once.delivery, said(OutcomeKind.REFUSED, 1, detail="throttled"), at(2.1))
    assert twice.delivery.steps[0].retry_at == once.delivery.steps[0].retry_at
    assert twice.delivery.steps[0].outcome is not None
    assert twice.delivery.steps[0].outcome.at == at(1)


def test_acceptance_by_a_provider_settles_when_its_window_ends() -> None:
    """The provider's word counts when nobody said more by the end of the window."""
    accepted = take(planned(SMS), said(OutcomeKind.ACCEPTED, 1), at(1))
    assert accepted.delivery.state is DeliveryState.SENDING
    assert accepted.effects == ()
    settled = take(accepted.delivery, DeadlineReached(), at(30))
    assert settled.delivery.by is Evidence.PROVIDER
    assert settled.delivery.channel == "sms"


def test_a_refusal_after_the_acceptance_takes_it_back() -> None:
    """A receipt that says 'rejected' outranks the acceptance; nothing is delivered by it."""
    taken_back = follow(
        planned(SMS),
        [(1, said(OutcomeKind.ACCEPTED, 1)), (5, said(OutcomeKind.REJECTED, 5))],
    )
    assert taken_back.delivery.state is DeliveryState.STORED


def test_acceptance_waits_for_other_steps_under_way() -> None:
    """In a parallel plan the device may still speak over the other channel."""
    both = planned(replace(SMS, start_after=0.0, ack_within=5.0), WEBSOCKET)
    waiting = follow(both, [(1, said(OutcomeKind.ACCEPTED, 1)), (5, DeadlineReached())])
    assert waiting.delivery.state is DeliveryState.SENDING
    assert follow(waiting.delivery, [(10, DeadlineReached())]).delivery.by is Evidence.PROVIDER


def test_acceptance_of_a_wake_up_never_settles() -> None:
    """A wake-up carries no content: without the device's word the delivery is stored."""
    stored = follow(
        planned(WAKE_UP),
        [
            (1, said(OutcomeKind.ACCEPTED, 1)),
            (2, said(OutcomeKind.RECEIPTED, 2)),
            (30, DeadlineReached()),
        ],
    )
    assert stored.delivery.state is DeliveryState.STORED
    assert take(stored.delivery, DeadlineReached(), at(3600)).delivery.state is (
        DeliveryState.EXPIRED
    )


def test_an_accepted_wake_up_leads_to_the_next_step() -> None:
    """By the end of its window nobody fetched: the wake-up counts as not acknowledged."""
    woken = take(planned(WAKE_UP, BEHIND), said(OutcomeKind.ACCEPTED, 1), at(1)).delivery
    assert take(woken, DeadlineReached(), at(30)).effects == (StartStep(1, 2),)
    alone = take(planned(WAKE_UP, ttl=20), said(OutcomeKind.ACCEPTED, 1), at(1)).delivery
    assert take(alone, DeadlineReached(), at(20)).delivery.state is DeliveryState.EXPIRED


def test_a_receipt_delivers_by_provider_at_once() -> None:
    """The provider says that the device has it; a receipt of an earlier attempt counts too."""
    again = follow(
        planned(SMS), [(1, said(OutcomeKind.REFUSED, 1)), (5, DeadlineReached())]
    ).delivery
    assert again.current(0, 2)
    receipt = take(again, said(OutcomeKind.RECEIPTED, 6, attempt=1), at(6))
    assert receipt.delivery.by is Evidence.PROVIDER


def test_a_receipt_of_an_earlier_plans_wake_up_proves_nothing() -> None:
    """The same step of a new plan may carry the content where the earlier one did not."""
    stored = follow(
        planned(WAKE_UP), [(1, said(OutcomeKind.REJECTED, 1)), (2, Planned((SMS,)))]
    ).delivery
    assert stored.current(0, 2)
    late = take(stored, said(OutcomeKind.RECEIPTED, 3, attempt=1), at(3))
    assert late.delivery.state is DeliveryState.SENDING


def test_no_such_application_fails_and_revokes_the_token() -> None:
    """The device's own refusal ends the delivery, whatever else is under way."""
    gone = take(planned(WEBSOCKET, SMS), said(OutcomeKind.NO_SUCH_APPLICATION, 1), at(1))
    assert gone.delivery.state is DeliveryState.FAILED
    assert gone.delivery.reason == Reason.NO_SUCH_APPLICATION
    assert gone.effects == (RevokeToken(), Announce())


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
    """Without a channel the delivery is stored, told so once, and expires."""
    stored = take(a_delivery(ttl=60), Planned(()), at(0))
    assert stored.delivery.state is DeliveryState.STORED
    assert stored.effects == (Announce(),)
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
    """Made due by the device's return, it stays due whatever arrives before somebody looks."""
    waiting = take(planned(SMS), said(OutcomeKind.REFUSED, 1, retry_after=300), at(1)).delivery
    released = replace(waiting, released=True, deadline=at(2))
    rejected = take(released, said(OutcomeKind.REJECTED, 2), at(2.1)).delivery
    assert rejected.state is DeliveryState.STORED
    assert rejected.released
    assert rejected.deadline is not None
    assert rejected.deadline <= at(2)


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
    for late in (Cancelled(), Failed(Reason.BACKLOG_FULL), said(OutcomeKind.COULD_NOT_WAKE, 11)):
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
    for step, attempt in ((0, 2), (0, 0), (1, 1), (7, 1), (-1, 1), (None, 1), (0, None)):
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
