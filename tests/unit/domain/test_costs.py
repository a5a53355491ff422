"""What a delivery has cost, by its ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits
from aoi_events.domain.delivery.costs import doubtful, spent
from aoi_events.domain.delivery.facts import DeadlineReached, Planned, Reported, StartStep
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, Step, plan
from aoi_events.domain.planning.policy import Rules
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery

SMS = Step("sms", 0.0, 30.0, cost=1.5)
PUSH = Step("webpush", 0.0, 30.0, cost=0.25)


def heard(delivery: Delivery, kind: OutcomeKind, step: int = 0) -> Delivery:
    """The delivery after a word about the present attempt of a step."""
    attempt = delivery.steps[step].attempt
    return take(delivery, Reported(kind, EPOCH, step=step, attempt=attempt), EPOCH).delivery


@pytest.fixture
def sent() -> Delivery:
    """Sent over both at once."""
    return take(a_delivery(), Planned((SMS, PUSH)), EPOCH).delivery


def test_what_is_under_way_counts(sent: Delivery) -> None:
    """Each message that was handed over, at the price of then; nothing before that."""
    assert spent(a_delivery()) == 0.0
    assert spent(sent) == 1.75


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_what_nobody_took_costs_nothing(sent: Delivery, kind: OutcomeKind) -> None:
    """A message costs nothing if it was refused, lost, parked or never attempted; all
    others count.
    """
    free = ("unavailable", "refused", "rejected", "route_lost", "parked")
    assert spent(heard(sent, kind)) == (0.25 if kind in free else 1.75)


def test_what_is_sent_again_counts_again(sent: Delivery) -> None:
    """Silence of a provider may be a message: it and the next one count; after a refusal only the
    next one does.
    """
    refused = heard(sent, OutcomeKind.REFUSED, step=1)
    later = EPOCH + timedelta(seconds=31)
    silent = take(refused, DeadlineReached(), later).delivery
    assert [state.attempt for state in silent.steps] == [1, 3]
    assert spent(silent) == 1.75
    again = take(silent, DeadlineReached(), later + timedelta(seconds=20)).delivery
    assert again.steps[0].attempt == 4
    assert spent(again) == 3.25


def test_the_last_word_of_a_message_counts(sent: Delivery) -> None:
    """A message of which an outage was reported counts if it was taken after all."""
    held = heard(sent, OutcomeKind.UNAVAILABLE)
    assert spent(held) == 0.25
    assert spent(heard(held, OutcomeKind.ACCEPTED)) == 1.75


@pytest.mark.parametrize("kind", [OutcomeKind.REFUSED, OutcomeKind.REJECTED])
def test_what_was_taken_and_did_not_arrive_counts(sent: Delivery, kind: OutcomeKind) -> None:
    """An SMSC that took a message bills it, whatever its receipt says later."""
    assert spent(heard(heard(sent, OutcomeKind.ACCEPTED), kind)) == 1.75


def test_what_an_end_may_have_overtaken_is_in_doubt(sent: Delivery) -> None:
    """After a delivery over one channel, the other channel's message may never have been submitted,
    unless there is a report on it; while the delivery is under way nothing is in doubt.
    """
    assert doubtful(sent) == set()
    ack = Reported(OutcomeKind.ACKNOWLEDGED, EPOCH, step=0, attempt=1, channel="sms")
    push = (sent.id, 1, 2)
    ended = take(sent, ack, EPOCH).delivery
    assert doubtful(ended) == {push}
    assert (spent(ended), spent(ended, overtaken={push})) == (1.75, 1.5)
    taken = take(heard(sent, OutcomeKind.ACCEPTED, step=1), ack, EPOCH).delivery
    assert doubtful(taken) == set()


def test_most_cost_holds_beyond_the_lines_of_the_story() -> None:
    """A device that refuses again and again makes a story of more than 40 lines, whose middle is
    left out; no more messages are sent than ``most_cost`` allows all the same.
    """
    delivery, sent, now = a_delivery(ttl=86_400.0), 0, EPOCH
    rules, traits = Rules(most_cost=20.0), {"sms": ChannelTraits("sms", False, 30.0, cost=1.0)}
    channels = [Channel(delivery.client, "sms", ChannelState.ACTIVE, rank=0)]
    for returns in range(60):
        demand = Demand(None, spent=spent(delivery))
        steps = plan(channels, traits, demand, connected=False, rules=rules)
        now += timedelta(seconds=1)
        decision = take(
            replace(delivery, released=bool(returns)), Planned(steps, returns=returns), now
        )
        sent += sum(isinstance(effect, StartStep) for effect in decision.effects)
        delivery = heard(decision.delivery, OutcomeKind.ACCEPTED) if steps else decision.delivery
        refused = Reported(OutcomeKind.COULD_NOT_WAKE, now, channel="sms")
        delivery = take(delivery, refused, now).delivery
    assert len(delivery.story) == 40
    assert (sent, spent(delivery)) == (20, 20.0)
