"""A provider that says "not before T" is obeyed by every later plan, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Reason
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.facts import DeadlineReached, Planned, StartStep
from aoi_events.domain.delivery.replanning import replan
from aoi_events.domain.delivery.state import StepState
from aoi_events.domain.planning.plans import Step
from tests.support.histories import SMS, WEBSOCKET, at, follow, planned, said
from tests.support.rules import take
from tests.support.strategies import jitters, plans

LATER = said(OutcomeKind.REFUSED, 1, retry_after=600)


def test_a_new_plan_waits_as_long_as_the_provider_asked() -> None:
    """The device comes back meanwhile: the refusing channel waits, and is tried in its time."""
    refused = take(planned(SMS), LATER, at(1)).delivery
    again = take(refused, Planned((replace(SMS, start_after=0.0),)), at(100))
    assert again.effects == ()
    assert again.delivery.deadline == at(601)
    tried = take(again.delivery, DeadlineReached(), at(601))
    assert tried.effects == (StartStep(0, 2),)
    assert tried.delivery.steps[0].retries == 0


def test_the_channels_behind_it_need_not_wait() -> None:
    """The refusing channel has had its time already: the next step of the new plan starts."""
    refused = take(planned(SMS), LATER, at(1)).delivery
    behind = Step("webpush", start_after=None, ack_within=30.0)
    again = take(refused, Planned((SMS, behind)), at(100))
    assert again.effects == (StartStep(1, 2),)
    connected = take(refused, Planned((WEBSOCKET, SMS)), at(100))
    assert connected.effects == (StartStep(0, 2),)
    assert connected.delivery.deadline == at(110)


def test_a_step_behind_another_does_not_start_because_its_wait_is_over() -> None:
    """Fallback stays fallback: what waited for its provider waits for the steps before it, too."""
    refused = take(planned(SMS), LATER, at(1)).delivery
    slow = replace(WEBSOCKET, ack_within=1000.0)
    later = follow(refused, [(100, Planned((slow, SMS))), (601, DeadlineReached())])
    assert later.effects == (StartStep(0, 2),)
    assert follow(later.delivery, [(1100, DeadlineReached())]).effects == (StartStep(1, 3),)


def test_a_provider_that_wants_it_after_its_expiry_is_not_asked_again() -> None:
    """Nothing else can take it: it is stored for the device's return, as after the refusal."""
    stored = take(planned(SMS, ttl=60), LATER, at(1)).delivery
    again = take(stored, Planned((SMS,)), at(10)).delivery
    assert (again.state, again.reason) == (DeliveryState.STORED, Reason.REFUSED)
    assert again.attempts == stored.attempts


@given(
    retry_after=st.floats(0.001, 3000.0),
    history=st.lists(
        st.tuples(
            st.floats(0.0, 900.0),
            st.builds(Planned, plans())
            | st.just(DeadlineReached())
            | st.just(said(OutcomeKind.COULD_NOT_WAKE, 3600, None, None, channel="sms")),
        ),
        max_size=8,
    ),
    jitter=jitters(),
)
def test_no_plan_asks_a_provider_too_early(
    retry_after: float, history: list[tuple[float, Planned | DeadlineReached]], jitter: float
) -> None:
    """Whatever is planned, looked at or refused by the device meanwhile, with the channel or
    without it: nothing is handed to that provider before the time that it named.
    """
    refusal = said(OutcomeKind.REFUSED, 1, retry_after=retry_after)
    delivery = take(planned(SMS), refusal, at(1), jitter=jitter).delivery
    seconds = 1.0
    for wait, fact in history:
        seconds += wait
        decision = take(delivery, fact, at(seconds), jitter=jitter)
        delivery = decision.delivery
        for effect in decision.effects:
            if isinstance(effect, StartStep) and effect.attempt > 1:
                channel = delivery.steps[effect.step].step.channel
                early = at(seconds) < at(1) + timedelta(seconds=retry_after)
                assert not (channel == "sms" and early)


def test_the_later_of_two_times_stands() -> None:
    """A provider that named two times wants nothing before the later one, in either order."""
    states = [
        StepState(SMS, attempt=n, outcome=StepOutcome(n, OutcomeKind.REFUSED, at(0), "", wait))
        for n, wait in ((1, 30.0), (2, 50.0))
    ]
    for before in (states, states[::-1]):
        (state,) = replan((SMS,), before, now=at(1), expires_at=at(100))
        assert state.retry_at == at(50)


def test_a_time_at_the_expiry_is_too_late() -> None:
    """Nothing is started at the expiry itself, so the step is over."""
    before = StepState(SMS, attempt=1, outcome=StepOutcome(1, OutcomeKind.REFUSED, at(0), "", 60.0))
    (over,) = replan((SMS,), [before], now=at(1), expires_at=at(60))
    assert (over.over, over.retry_at) == (Reason.REFUSED, None)
    (waits,) = replan((SMS,), [before], now=at(1), expires_at=at(60.001))
    assert (waits.over, waits.retry_at) == (None, at(60))


def test_an_outage_ends_with_the_plan() -> None:
    """That a provider was down is our own guess, so a new plan asks it at once."""
    held = take(planned(SMS), said(OutcomeKind.UNAVAILABLE, 1, retry_after=300), at(1)).delivery
    released = replace(held, released=True, deadline=at(5))
    assert take(released, Planned((SMS,)), at(5)).effects == (StartStep(0, 2),)


def test_a_time_that_has_come_holds_nothing_back() -> None:
    """The provider takes it again: the new plan begins as if it had never refused."""
    before = StepState(SMS, attempt=1, outcome=StepOutcome(1, OutcomeKind.REFUSED, at(0), "", 60.0))
    for now in (60, 61):
        assert replan((SMS,), [before], now=at(now), expires_at=at(600)) == (StepState(SMS),)
        assert replan((), [before], now=at(now), expires_at=at(600)) == ()
