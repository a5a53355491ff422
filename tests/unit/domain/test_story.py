"""The story is for people: no decision reads it, and what a delivery cost does not depend on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.costs import doubtful, spent
from aoi_events.domain.delivery.facts import DeadlineReached, Fact
from aoi_events.domain.delivery.ledger import Charge, Ledger
from aoi_events.domain.delivery.machine import decide, resend
from aoi_events.domain.delivery.state import Delivery, StoryEntry
from aoi_events.services.messages.events import delivery_event
from tests.support.histories import SMS, follow, planned, said
from tests.support.strategies import a_delivery
from tests.unit.domain.test_delivery_machine import Histories

_FREE = {"unavailable", "refused", "rejected", "route_lost", "parked"}
_TAKEN = {"accepted", "receipted"}


def without_story(delivery: Delivery) -> Delivery:
    """The same delivery with an empty story."""
    return replace(delivery, story=())


def cost_of(story: list[StoryEntry]) -> float:
    """What the messages of a complete story cost: those that no provider gave back."""
    said: dict[int | None, str] = {}
    for line in story:
        if not line.what.startswith("sent") and said.get(line.attempt) not in _TAKEN:
            said[line.attempt] = line.what
    return sum(line.cost for line in story if said.get(line.attempt) not in _FREE)


class StorylessHistories(Histories):
    """Every decision is taken twice: with the story, and without one."""

    def _apply(self, fact: Fact) -> None:
        before, now = self.delivery, self.now
        if not hasattr(self, "lines"):
            self.lines: list[StoryEntry] = []
        bare = decide(
            without_story(before), fact, now=now, jitter=self.jitter, backoff=self.backoff
        )
        decision = decide(before, fact, now=now, jitter=self.jitter, backoff=self.backoff)
        super()._apply(fact)
        after = decision.delivery
        assert without_story(bare.delivery) == without_story(after)
        assert (bare.effects, bare.changed) == (decision.effects, decision.changed)
        assert resend(bare.delivery) == resend(after)
        assert doubtful(bare.delivery) == doubtful(after)
        later = now + timedelta(seconds=9)
        if after.state is not DeliveryState.SENDING:
            # Told again later, the event is the same: ID and time come from the row.
            assert delivery_event(without_story(after), later) == delivery_event(after, now)
        # What a decision adds to an empty story is all that it adds; nothing of it is left out.
        self.lines += bare.delivery.story
        assert spent(after) == pytest.approx(cost_of(self.lines))


StorylessHistories.TestCase.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None
)
TestStorylessHistories = StorylessHistories.TestCase
TestStorylessHistories.__doc__ = "With an empty story every decision, cost and event is the same."


def test_a_message_counts_whose_line_an_outage_left_out() -> None:
    """Of the tries of an outage the story leaves some out; one that was taken after all counts."""
    delivery = planned(replace(SMS, start_after=0.0, cost=1.0))
    for attempt in range(1, 10):
        when = attempt * 10
        down = said(OutcomeKind.UNAVAILABLE, when, attempt=attempt, retry_after=10)
        delivery = follow(delivery, [(when, DeadlineReached()), (when, down)]).delivery
    assert ("sent", 9) not in {(line.what, line.attempt) for line in delivery.story}
    assert spent(delivery) == 0.0
    taken = said(OutcomeKind.ACCEPTED, 91, attempt=9)
    assert spent(follow(delivery, [(91, taken)]).delivery) == 1.0


def test_a_ledger_loses_no_cost() -> None:
    """However many attempts nothing was reported of: what has no room as a charge is in the sum."""
    ledger = Ledger()
    for attempt in range(1, 101):
        ledger = ledger.charged(Charge(0, attempt, "sms", 0.5), {attempt})
    assert len(ledger.charges) == 16
    assert spent(replace(a_delivery(), ledger=ledger)) == 50.0
