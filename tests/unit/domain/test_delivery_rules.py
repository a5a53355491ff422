"""How steps follow each other, one example for each rule; read it as documentation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import (
    Announce,
    CloseChannel,
    DeadlineReached,
    LosePresence,
    Planned,
    StartStep,
)
from aoi_events.domain.planning.plans import Step
from tests.support.histories import BEHIND, SMS, WAKE_UP, WEBSOCKET, at, follow, planned, said
from tests.support.rules import take
from tests.support.strategies import a_delivery


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


@pytest.mark.parametrize("kind", OutcomeKind)
def test_nobody_speaks_of_an_attempt_before_it_is_made(kind: OutcomeKind) -> None:
    """What names an attempt that this very decision makes is stray: the step starts all the same,
    as by the deadline alone. Only what a device says of the delivery itself counts whatever it
    names: that the app has it, or that it was thrown away.
    """
    delivery = planned(WEBSOCKET, SMS)
    early = take(delivery, said(kind, 10, step=1, attempt=2), at(10))
    if kind in (OutcomeKind.ACKNOWLEDGED, OutcomeKind.DISCARDED):
        assert early.delivery.state.terminal
    else:
        assert early.effects == (StartStep(1, 2),)
        assert early.delivery.steps == take(delivery, DeadlineReached(), at(10)).delivery.steps


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
    assert rejected.effects == (CloseChannel("sms", "unknown subscriber", at(1)), StartStep(1, 2))


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
    """The provider's acceptance counts when there is no other report by the end of the window."""
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
    """If the content is not fetched by the end of its window, the wake-up counts as not
    acknowledged.
    """
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
