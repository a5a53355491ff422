"""A provider that is down: no attempt is eaten, the plan goes on, and what waited flows again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import DeadlineReached, StartStep
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step
from tests.support.histories import SMS, at, follow, planned, said
from tests.support.rules import take
from tests.support.strategies import jitters

ALONE = replace(SMS, start_after=0.0)
WEBHOOK = Step("webhook", start_after=None, ack_within=30.0)


def test_the_plan_goes_on_at_once() -> None:
    """The next step starts in the same moment, not after the first one's window."""
    down = take(planned(ALONE, WEBHOOK), said(OutcomeKind.UNAVAILABLE, 1, retry_after=20), at(1))
    assert down.effects == (StartStep(1, 2),)
    assert down.delivery.steps[0].over is None


def test_alone_it_waits_until_the_provider_may_be_asked() -> None:
    """Without another step it stays in sending, and is asked again when the breaker may let it."""
    down = take(planned(ALONE), said(OutcomeKind.UNAVAILABLE, 1, retry_after=20), at(1))
    assert down.effects == ()
    assert (down.delivery.state, down.delivery.deadline) == (DeliveryState.SENDING, at(21))
    again = take(down.delivery, DeadlineReached(), at(21))
    assert again.effects == (StartStep(0, 2),)
    assert again.delivery.steps[0].retries == 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), jitters())
def test_no_attempt_is_eaten(waits: list[int], jitter: float) -> None:
    """However often it waited for its provider, the first true refusal waits as if it were the
    first.
    """
    delivery, now = planned(ALONE, ttl=100_000.0), 0.0
    for wait in waits:
        attempt = delivery.steps[0].attempt
        fact = said(OutcomeKind.UNAVAILABLE, now, attempt=attempt, retry_after=wait)
        delivery = take(delivery, fact, at(now), jitter=jitter).delivery
        now += max(wait, 1)
        delivery = take(delivery, DeadlineReached(), at(now), jitter=jitter).delivery
    attempt = delivery.steps[0].attempt
    assert attempt == len(waits) + 1
    refused = take(
        delivery, said(OutcomeKind.REFUSED, now, attempt=attempt), at(now), jitter=jitter
    ).delivery
    retry_at = refused.steps[0].retry_at
    assert retry_at is not None
    assert (retry_at - at(now)).total_seconds() <= 1.0


def test_what_stands_in_for_it_keeps_it_from_going_out_twice() -> None:
    """While the fallback may be acknowledged, the provider that is back is not asked; when the
    fallback ends without a word it is, at once.
    """
    fallback = take(
        planned(ALONE, WEBHOOK), said(OutcomeKind.UNAVAILABLE, 0, retry_after=5), at(0)
    ).delivery
    assert fallback.deadline == at(30)
    assert not take(fallback, DeadlineReached(), at(10)).changed
    lost = take(fallback, said(OutcomeKind.REJECTED, 12, 1, 2), at(12))
    assert lost.effects == (StartStep(0, 3),)


def test_the_fallbacks_provider_settles_it() -> None:
    """A step that awaits its provider is not under way: the fallback's acceptance delivers."""
    accepted = follow(
        planned(ALONE, WEBHOOK),
        [
            (0, said(OutcomeKind.UNAVAILABLE, 0, retry_after=5)),
            (1, said(OutcomeKind.ACCEPTED, 1, 1, 2)),
            (30, DeadlineReached()),
        ],
    ).delivery
    assert (accepted.by, accepted.channel) == (Evidence.PROVIDER, "webhook")


def test_steps_that_start_by_themselves_stand_in_for_nothing() -> None:
    """In a parallel plan each channel is wanted: the provider is asked as soon as it is back."""
    parallel = replace(WEBHOOK, start_after=0.0)
    down = take(
        planned(ALONE, parallel), said(OutcomeKind.UNAVAILABLE, 0, retry_after=5), at(0)
    ).delivery
    assert take(down, DeadlineReached(), at(5)).effects == (StartStep(0, 3),)


def test_every_provider_down() -> None:
    """Both wait, each for its own provider, and the first that is back gets it."""
    both = follow(
        planned(ALONE, WEBHOOK),
        [
            (0, said(OutcomeKind.UNAVAILABLE, 0, retry_after=60)),
            (1, said(OutcomeKind.UNAVAILABLE, 1, 1, 2, retry_after=5)),
        ],
    ).delivery
    assert (both.state, both.deadline) == (DeliveryState.SENDING, at(6))
    assert take(both, DeadlineReached(), at(6)).effects == (StartStep(1, 3),)


def test_what_lives_briefly_is_tried_before_it_expires() -> None:
    """It waits half of the time it has left at most; in its last seconds it gives up its step."""
    brief = take(
        planned(ALONE, ttl=20.0), said(OutcomeKind.UNAVAILABLE, 0, retry_after=60), at(0)
    ).delivery
    assert brief.deadline == at(10)
    late = follow(
        planned(ALONE, ttl=20.0),
        [(18.5, said(OutcomeKind.UNAVAILABLE, 18.5, retry_after=60))],
    ).delivery
    assert late.state is DeliveryState.STORED
    assert late.steps[0].over is Reason.UNAVAILABLE


def test_better_word_of_the_same_attempt_stands() -> None:
    """*Unavailable* is the weakest outcome: every other report on the attempt replaces it."""
    accepted = follow(
        planned(ALONE),
        [
            (0, said(OutcomeKind.UNAVAILABLE, 0, retry_after=5)),
            (1, said(OutcomeKind.ACCEPTED, 1)),
            (2, said(OutcomeKind.UNAVAILABLE, 2, retry_after=500)),
        ],
    ).delivery
    assert accepted.steps[0].under_way
    assert accepted.deadline == at(30)


def test_a_receipt_of_an_attempt_before_the_outage_counts() -> None:
    """The SMSC took the message, lost the connection before it could answer, and sends its receipt
    later: it counts for this step, however often the step waited for its provider since.
    """
    delivery = follow(
        planned(ALONE),
        [
            (1, said(OutcomeKind.REFUSED, 1, detail="unanswered")),
            (5, DeadlineReached()),
            (5, said(OutcomeKind.UNAVAILABLE, 5, attempt=2, retry_after=5)),
            (10, DeadlineReached()),
            (10, said(OutcomeKind.UNAVAILABLE, 10, attempt=3, retry_after=5)),
        ],
    ).delivery
    settled = take(delivery, said(OutcomeKind.RECEIPTED, 11, attempt=1), at(11)).delivery
    assert settled.by is Evidence.PROVIDER


def test_an_outage_takes_few_lines_of_the_story() -> None:
    """Of hundreds of tries the story keeps the first and the last, so that it tells the rest."""
    delivery: Delivery = planned(ALONE, ttl=100_000.0)
    for attempt in range(1, 50):
        now = at(attempt * 10)
        fact = said(OutcomeKind.UNAVAILABLE, attempt * 10, attempt=attempt, retry_after=10)
        delivery = take(delivery, fact, now).delivery
        delivery = take(delivery, DeadlineReached(), at(attempt * 10 + 10)).delivery
    told = [(entry.what, entry.attempt) for entry in delivery.story]
    outage = [("unavailable", 1), ("sent", 2), ("unavailable", 49)]
    assert told == [("sent", 1), *outage, ("sent", 50)]
