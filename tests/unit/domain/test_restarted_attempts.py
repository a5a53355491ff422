"""Attempts that the broker took late count from then on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery.attempts import restart
from aoi_events.domain.delivery.facts import DeadlineReached, StartStep
from tests.support.histories import SMS, WEBSOCKET, at, planned, said
from tests.support.rules import take

LATE = 8.0


def test_the_window_starts_again() -> None:
    """The fallback starts when the whole time of the device is over since then."""
    late = restart(planned(WEBSOCKET, SMS), 0, at(LATE))
    ends = at(LATE) + timedelta(seconds=WEBSOCKET.ack_within)
    assert late.deadline == ends
    early = take(late, DeadlineReached(), ends - timedelta(seconds=1)).delivery
    assert not early.steps[1].started
    assert take(late, DeadlineReached(), ends).effects == (StartStep(1, 2),)


def test_a_report_does_not_undo_it() -> None:
    """What the provider says of the attempt leaves it the time that it has."""
    late = restart(planned(SMS, ttl=3600), 0, at(LATE))
    after = take(late, said(OutcomeKind.ACCEPTED, 1), at(LATE + 1)).delivery
    assert after.deadline == at(LATE) + timedelta(seconds=SMS.ack_within)


def test_a_hedge_follows_its_first_step() -> None:
    """Its head start counts from the first step's confirm, too."""
    late = restart(planned(WEBSOCKET, replace(SMS, start_after=2.0)), 0, at(LATE))
    assert late.deadline == at(LATE + 2)
    assert take(late, DeadlineReached(), at(LATE + 2)).effects == (StartStep(1, 2),)


def test_expiry_is_absolute() -> None:
    """However late the confirm is, the notification expires when it would have."""
    assert restart(planned(WEBSOCKET, SMS, ttl=10), 0, at(LATE)).deadline == at(10)


def test_a_later_step_leaves_the_plan_where_it_is() -> None:
    """Only its own window starts again: the plan and the steps before began when they did."""
    known = take(planned(WEBSOCKET, SMS), said(OutcomeKind.ROUTE_LOST, 1), at(1)).delivery
    late = restart(known, 1, at(LATE))
    assert late.planned_at == at(0)
    assert late.steps[0] == known.steps[0]
    assert late.deadline == at(LATE) + timedelta(seconds=SMS.ack_within)


def test_a_deadline_that_was_set_for_another_reason_stays() -> None:
    """A delivery that was made due, for a revoked app say, does not wait for a confirm."""
    due = replace(planned(WEBSOCKET, SMS), deadline=at(1))
    assert restart(due, 0, at(LATE)).deadline == at(1)
