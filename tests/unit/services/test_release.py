"""Storing and coming back: neither can miss the other, whatever the workers' clocks say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.client import Client
from aoi_events.domain.delivery.facts import DeadlineReached, Decision, Planned
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step
from aoi_events.services.delivery.release import release_if_returned
from tests.support.instant import INSTANT

CONNECTED = Step("websocket", start_after=0.0, ack_within=10.0, connected=True)


def stored(planned_with: int, at: datetime) -> Decision:
    """A delivery whose only attempt was not acknowledged, planned after so many returns."""
    delivery = Delivery(
        id="dlv_" + "a" * 26,
        sender="shop",
        notification="n",
        client="cli_" + "a" * 26,
        application="app",
        instance="default",
        fingerprint="fp_" + "a" * 13,
        accepted_at=INSTANT,
        expires_at=INSTANT + timedelta(hours=1),
    )
    planned = decide(delivery, Planned((CONNECTED,), returns=planned_with), now=at, jitter=0.0)
    later = at + timedelta(seconds=10)
    decision = decide(planned.delivery, DeadlineReached(), now=later, jitter=0.0)
    assert decision.delivery.state is DeliveryState.STORED
    return decision


def client(returns: int, seen_at: datetime) -> Client:
    """A client that came back so many times, last at that moment by its worker's clock."""
    return Client(
        id="cli_" + "a" * 26,
        secret_hash="0" * 64,
        device="phone",
        identity="tel:+1",
        registered_at=INSTANT,
        seen_at=seen_at,
        returns=returns,
    )


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_a_return_during_the_plan_is_noticed_whatever_the_clocks_say(skew: float) -> None:
    """A device that came back after the plan was made gets the delivery at once, also where the
    worker that noted its return has another time.
    """
    decision = stored(planned_with=3, at=INSTANT)
    back = client(4, INSTANT + timedelta(seconds=skew))
    now = INSTANT + timedelta(seconds=11)
    after = release_if_returned(decision, {back.id: back}, now).delivery
    assert after.released
    assert after.deadline == now


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_without_a_return_it_waits_for_the_next_one(skew: float) -> None:
    """A plan that knew of the last return is not made again and again."""
    decision = stored(planned_with=3, at=INSTANT)
    same = client(3, INSTANT + timedelta(seconds=skew))
    assert release_if_returned(decision, {same.id: same}, INSTANT) == decision


@pytest.mark.parametrize("returns,released", [(2, False), (3, False), (4, True)])
def test_only_a_later_return_counts(returns: int, *, released: bool) -> None:
    """A return that the plan knew, or one before that, is none that it missed."""
    decision = stored(planned_with=3, at=INSTANT)
    known = client(returns, INSTANT)
    assert release_if_returned(decision, {known.id: known}, INSTANT).delivery.released == released


@pytest.mark.parametrize(
    "changes",
    [{"state": DeliveryState.SENDING}, {"released": True}, {"planned_at": None}],
    ids=["under way", "released before", "never planned"],
)
def test_what_needs_no_release_is_left_alone(changes: dict[str, Any]) -> None:
    """Only what is stored now, after a plan, and not due already, becomes due by a return."""
    decision = stored(planned_with=3, at=INSTANT)
    other = replace(decision, delivery=replace(decision.delivery, **changes))
    back = client(4, INSTANT)
    assert release_if_returned(other, {back.id: back}, INSTANT) == other


def test_a_repeat_and_an_unknown_client_release_nothing() -> None:
    """A delivery that was stored before, and is announced again, waits for the next return."""
    decision = stored(planned_with=3, at=INSTANT)
    back = client(4, INSTANT)
    repeated = replace(decision, changed=False)
    assert release_if_returned(repeated, {back.id: back}, INSTANT) == repeated
    assert release_if_returned(decision, {}, INSTANT) == decision
