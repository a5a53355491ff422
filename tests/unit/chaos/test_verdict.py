from __future__ import annotations

from dataclasses import replace
from typing import cast

from tests.acceptance.device_pool import Device
from tests.chaos.ledger import BRIEF, LASTING, Notification
from tests.chaos.verdict import judge

RIGHT = Notification("n1", cast(Device, None), "app", LASTING, 1.0, confirmed=2.0, shown=[3.0])


def test_what_is_delivered_and_shown_once_is_right() -> None:
    """Nothing is lost, doubled, or without its event."""
    verdict = judge({"n1": RIGHT}, [("n1", "delivered")], {"n1": ["delivered"]}, [])
    assert (verdict.confirmed, verdict.accepted, verdict.delivered) == (1, 1, 1)
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.without_event
    assert not verdict.other_event


def test_each_way_to_be_lost_is_found() -> None:
    """No row, an open row, an end that is no delivery, and a delivery that no app was shown."""
    unseen = replace(RIGHT, shown=[])
    for rows, why in (
        ([], "no row"),
        ([("n1", "sending")], "sending"),
        ([("n1", "expired")], "expired"),
        ([("n1", "failed")], "failed"),
        ([("n1", "delivered")], "delivered and not shown"),
    ):
        assert judge({"n1": unseen}, rows, {}, []).lost == {"n1": why}


def test_a_short_time_to_live_may_end_and_an_unconfirmed_request_may_vanish() -> None:
    """Neither of them is lost."""
    brief = replace(RIGHT, ttl=BRIEF, shown=[])
    assert not judge({"n1": brief}, [("n1", "expired")], {}, []).lost
    assert not judge({"n1": replace(RIGHT, confirmed=None, shown=[])}, [], {}, []).lost


def test_what_an_app_was_shown_twice_or_is_anothers_is_doubled() -> None:
    """So is a notification with two rows for its one token."""
    twice = replace(RIGHT, shown=[3.0, 4.0])
    assert judge({"n1": twice}, [("n1", "delivered")], {}, []).doubled == ["n1"]
    assert judge({"n1": RIGHT}, [("n1", "delivered")] * 2, {}, []).doubled == ["n1"]
    assert judge({"n1": RIGHT}, [("n1", "delivered")], {}, ["n1 at x"]).doubled == ["n1 at x"]


def test_events_are_compared_with_rows() -> None:
    """The last event counts, because a later one corrects."""
    rows = [("n1", "delivered")]
    assert judge({"n1": RIGHT}, rows, {}, []).without_event == ["n1"]
    assert judge({"n1": RIGHT}, rows, {"n1": ["failed"]}, []).other_event == ["n1"]
    assert not judge({"n1": RIGHT}, rows, {"n1": ["expired", "delivered"]}, []).other_event
