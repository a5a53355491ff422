"""When an attempt is made again: each pause is longer than the one before, up to the ceiling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import DeadlineReached, Planned, StartStep
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.retry import Backoff
from tests.support.histories import BEHIND, SMS, WEBSOCKET, at, follow, planned, said
from tests.support.rules import take

BACKOFF = Backoff(first=2.0, factor=2.0, ceiling=50.0)


def pauses(delivery: Delivery, *, refused: bool, times: int) -> list[float]:
    """The seconds from each failure of the only step to its next attempt."""
    found: list[float] = []
    now = 0.0
    for attempt in range(1, times + 1):
        if refused:
            fact = said(OutcomeKind.REFUSED, now, attempt=attempt)
            delivery = take(delivery, fact, at(now), jitter=1.0, backoff=BACKOFF).delivery
        else:
            now += 30
            looked = take(delivery, DeadlineReached(), at(now), jitter=1.0, backoff=BACKOFF)
            delivery = looked.delivery
        assert delivery.deadline is not None
        found.append((delivery.deadline - at(now)).total_seconds())
        now += found[-1]
        again = take(delivery, DeadlineReached(), at(now), jitter=1.0, backoff=BACKOFF)
        assert again.effects == (StartStep(0, attempt + 1),)
        delivery = again.delivery
    return found


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "silent"])
def test_each_pause_is_longer_up_to_the_ceiling(*, refused: bool) -> None:
    """The second, third, fourth and fifth retry wait twice as long as the one before; from then on
    the ceiling holds; so it is after refusals and after silence.
    """
    assert pauses(planned(SMS), refused=refused, times=8) == [2, 4, 8, 16, 32, 50, 50, 50]


def test_a_retry_after_shorter_than_the_backoff_does_not_hasten_the_retry() -> None:
    """The provider's wish is a lower bound, and so is the schedule."""
    refused = take(planned(SMS), said(OutcomeKind.REFUSED, 1, retry_after=0.1), at(1), jitter=1.0)
    assert refused.delivery.steps[0].retry_at == at(2)


def test_the_second_refusal_gives_the_step_no_new_window() -> None:
    """The step behind starts when the first one's window is over, as of its first attempt."""
    twice = follow(
        planned(replace(SMS, start_after=0.0), BEHIND),
        [
            (1, said(OutcomeKind.REFUSED, 1, retry_after=10)),
            (11, DeadlineReached()),
            (12, said(OutcomeKind.REFUSED, 12, attempt=2, retry_after=600)),
        ],
    ).delivery
    assert twice.deadline == at(30)
    assert take(twice, DeadlineReached(), at(30)).effects == (StartStep(1, 3),)


def test_silence_after_an_outage_is_a_retry() -> None:
    """The provider was down at the first attempt and silent at the second: only that one counts."""
    alone = take(planned(SMS), said(OutcomeKind.UNAVAILABLE, 1, retry_after=3), at(1)).delivery
    assert alone.steps[0].awaits_provider
    second = take(alone, DeadlineReached(), at(4)).delivery
    silent = take(second, DeadlineReached(), at(34)).delivery
    assert not silent.steps[0].awaits_provider
    assert silent.steps[0].retry_at is not None
    third = take(silent, DeadlineReached(), silent.steps[0].retry_at).delivery
    assert (third.steps[0].attempt, third.steps[0].retries) == (3, 1)


def test_an_outage_in_the_last_two_seconds_ends_the_step() -> None:
    """With two seconds left there is no time to wait; with more there is."""
    over = take(planned(SMS, ttl=3), said(OutcomeKind.UNAVAILABLE, 1), at(1)).delivery
    assert over.steps[0].over is Reason.UNAVAILABLE
    held = take(planned(SMS, ttl=3.5), said(OutcomeKind.UNAVAILABLE, 1), at(1)).delivery
    assert held.steps[0].retry_at == at(2)


def test_a_receipt_waits_for_a_connection_that_is_asked_again() -> None:
    """The gateway refused for now and was asked again: the device may be about to speak."""
    both = planned(WEBSOCKET, replace(SMS, start_after=0.0))
    again = follow(
        both, [(1, said(OutcomeKind.REFUSED, 1, retry_after=2)), (3, DeadlineReached())]
    ).delivery
    assert again.current(0, 3)
    assert not again.current(0, 1)
    waiting = take(again, said(OutcomeKind.RECEIPTED, 4, 1, 2), at(4)).delivery
    assert waiting.state is DeliveryState.SENDING
    assert take(waiting, said(OutcomeKind.ROUTE_LOST, 5, 0, 3), at(5)).delivery.by is (
        Evidence.PROVIDER
    )


@pytest.mark.parametrize("kind", [OutcomeKind.REJECTED, OutcomeKind.PARKED, OutcomeKind.ROUTE_LOST])
def test_a_receipt_that_takes_back_an_end_leaves_no_retry(kind: OutcomeKind) -> None:
    """Refused for now, then given up, then receipted while the device may speak: the step is under
    way until its window ends, and is not sent once more.
    """
    both = planned(replace(SMS, start_after=0.0), replace(WEBSOCKET, ack_within=60.0))
    told = follow(
        both,
        [
            (1, said(OutcomeKind.REFUSED, 1, retry_after=5)),
            (2, said(kind, 2)),
            (3, said(OutcomeKind.RECEIPTED, 3)),
        ],
    ).delivery
    assert (told.steps[0].over, told.steps[0].retry_at) == (None, None)
    assert told.state is DeliveryState.SENDING
    later = take(told, DeadlineReached(), at(6)).delivery
    assert later.steps[0].attempt == 1


def test_a_receipt_takes_back_no_end_of_a_wake_up() -> None:
    """What was rejected carried no content, so the receipt revives nothing."""
    told = follow(
        planned(replace(SMS, start_after=0.0, wake_up=True), WEBSOCKET),
        [(1, said(OutcomeKind.REJECTED, 1)), (2, said(OutcomeKind.RECEIPTED, 2))],
    ).delivery
    assert told.steps[0].over is Reason.REFUSED


def test_a_receipt_after_the_window_does_not_open_it_again() -> None:
    """The step's time is over, and the story says so once."""
    told = follow(
        planned(replace(SMS, start_after=0.0, ack_within=5.0), WEBSOCKET),
        [
            (1, said(OutcomeKind.ACCEPTED, 1)),
            (5, DeadlineReached()),
            (6, said(OutcomeKind.RECEIPTED, 6)),
        ],
    ).delivery
    assert told.state is DeliveryState.SENDING
    assert [entry.what for entry in told.story].count("not acknowledged") == 1


def test_a_return_without_a_channel_leaves_a_waiting_plan_its_time() -> None:
    """The device came back and nothing can be planned: the retry stays, and when it was planned."""
    waiting = take(planned(SMS), said(OutcomeKind.REFUSED, 1, retry_after=300), at(1)).delivery
    released = replace(waiting, released=True, deadline=at(50))
    kept = take(released, Planned((), returns=4), at(50)).delivery
    assert (kept.steps, kept.planned_at, kept.returns) == (waiting.steps, at(0), 0)
    assert (kept.released, kept.deadline) == (False, at(301))
