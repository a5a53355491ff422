"""The device's acknowledgement stops what has not started yet, whenever it comes."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.channels import Channel, ChannelTraits
from aoi_events.domain.delivery.facts import (
    Announce,
    DeadlineReached,
    Fact,
    Planned,
    Reported,
    StartStep,
)
from aoi_events.domain.planning.plans import Demand, Step, plan
from aoi_events.domain.planning.policy import Rules
from tests.support.rules import take
from tests.support.strategies import (
    EPOCH,
    a_delivery,
    channels_and_traits,
    demands,
    plans,
    reports,
    rules,
)

TTL = 600.0
OTHERS = [kind for kind in OutcomeKind if kind is not OutcomeKind.ACKNOWLEDGED]
OFFSETS = st.lists(st.floats(0.0, 200.0), max_size=6).map(sorted)


@given(
    plans(min_size=1),
    st.lists(st.tuples(st.floats(0.0, 60.0), reports(OTHERS)), max_size=5),
    st.floats(0.0, 120.0),
    OFFSETS,
)
def test_nothing_starts_after_it(
    made: tuple[Step, ...],
    heard: list[tuple[float, Reported]],
    acknowledged: float,
    later: list[float],
) -> None:
    """Under any plan, after any other reports: no attempt starts from then on, whatever is
    processed or reported, and the end is announced once.
    """
    delivery = take(a_delivery(ttl=TTL), Planned(made), EPOCH).delivery
    at = 0.0
    for after, fact in heard:
        at += after
        delivery = take(delivery, fact, EPOCH + timedelta(seconds=at)).delivery
    at += acknowledged
    now = EPOCH + timedelta(seconds=at)
    word = Reported(OutcomeKind.ACKNOWLEDGED, now, channel=made[0].channel)
    decision = take(delivery, word, now)
    settled = decision.delivery
    assert (settled.state, settled.by) == (DeliveryState.DELIVERED, "device")
    assert decision.effects.count(Announce()) == 1
    facts: list[Fact] = [DeadlineReached(), *(said for _, said in heard), word]
    for offset in later:
        for late in facts:
            again = take(settled, late, now + timedelta(seconds=offset))
            assert not [each for each in again.effects if isinstance(each, StartStep)]
            assert again.delivery.by == "device"
            assert [e.what for e in again.delivery.story].count("delivered") == [
                e.what for e in settled.story
            ].count("delivered")


@given(channels_and_traits(), demands(), rules(), st.floats(0.0, 1.0))
def test_within_its_head_start_no_other_channel_is_used(
    drawn: tuple[list[Channel], dict[str, ChannelTraits], Mode],
    demand: Demand,
    own: Rules,
    share: float,
) -> None:
    """In a hedge of any channels under any rules: acknowledged before the second one's time, only
    the first was ever started.
    """
    channels, traits, _ = drawn
    hedged = Demand(demand.content, demand.urgency, Mode.HEDGED, demand.hedge_after)
    steps = plan(channels, traits, hedged, connected=True, rules=own)
    first = take(a_delivery(ttl=TTL), Planned(steps), EPOCH)
    started = [each.step for each in first.effects if isinstance(each, StartStep)]
    assert started == ([0] if steps else [])
    if len(steps) < 2 or steps[1].start_after is None:
        return
    head_start = min(steps[1].start_after, steps[0].ack_within)
    now = EPOCH + timedelta(seconds=head_start * share * 0.999)
    word = Reported(OutcomeKind.ACKNOWLEDGED, now, step=0, attempt=1, channel=steps[0].channel)
    settled = take(first.delivery, word, now).delivery
    looked = take(settled, DeadlineReached(), now + timedelta(seconds=TTL))
    assert looked.delivery.attempts == 1
    assert not [each for each in looked.effects if isinstance(each, StartStep)]
