"""Plans: which channels, in which order, and the one rule for their starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Mode
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits
from aoi_events.domain.delivery.facts import DeadlineReached, Planned, StartStep
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, Step, may_start, plan, starts_at
from aoi_events.domain.retry import Backoff
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery, channels_and_traits, plans, steps

TRAITS = {
    "websocket": ChannelTraits("websocket", connection_oriented=True, ack_within=10.0),
    "sms": ChannelTraits("sms", connection_oriented=False, ack_within=30.0, largest_content=133),
}


def channel(kind: str, rank: int, state: ChannelState = ChannelState.ACTIVE) -> Channel:
    """A channel of a client."""
    return Channel("cli_" + "a" * 26, kind, state, rank)


def text(octets: int) -> Content:
    """Content of so many octets."""
    return Content(data="x" * octets)


BOTH = [channel("sms", 1), channel("websocket", 0)]


def test_fallback_is_the_default() -> None:
    """Best first at once, each other one when those before it are over."""
    first, second = plan(BOTH, TRAITS, Demand(text(10)), connected=True)
    assert (first.channel, first.start_after, first.connected) == ("websocket", 0.0, True)
    assert (second.channel, second.start_after, second.connected) == ("sms", None, False)
    assert (first.ack_within, second.ack_within) == (10.0, 30.0)


def test_a_connection_takes_part_only_while_there_is_one() -> None:
    """The connectionless channel bridges a lost connection without a new activation (8.2.2)."""
    (only,) = plan(BOTH, TRAITS, Demand(text(10)), connected=False)
    assert (only.channel, only.start_after) == ("sms", 0.0)


def test_what_is_too_large_becomes_a_wake_up() -> None:
    """Per step, by the smaller of what the channel and the device can take."""
    offered = [replace(BOTH[0], largest_content=100), BOTH[1]]
    assert [s.wake_up for s in plan(BOTH, TRAITS, Demand(text(133)), connected=True)] == [
        False,
        False,
    ]
    assert [s.wake_up for s in plan(BOTH, TRAITS, Demand(text(134)), connected=True)] == [
        False,
        True,
    ]
    assert [s.wake_up for s in plan(offered, TRAITS, Demand(text(101)), connected=True)] == [
        False,
        True,
    ]


def test_a_channel_measures_what_it_must_carry() -> None:
    """On SMS a media type costs octets, so less of its content fits; a connection takes all."""
    sms = replace(TRAITS["sms"], measure=lambda content: len(content.data) + len(content.type))
    traits = {**TRAITS, "sms": sms}
    content = Content(data="x" * 124, type="text/vcard")
    assert [s.wake_up for s in plan(BOTH, TRAITS, Demand(content), connected=True)] == [False] * 2
    assert [s.wake_up for s in plan(BOTH, traits, Demand(content), connected=True)] == [False, True]
    # What the device itself can take is said in octets of content.
    own = [replace(BOTH[0], largest_content=123), replace(BOTH[1], largest_content=124)]
    assert [s.wake_up for s in plan(own, TRAITS, Demand(content), connected=True)] == [False, True]


def test_hedge_and_parallel() -> None:
    """Parallel: all at 0; hedged: each one a head start after the one before."""
    three = [*BOTH, channel("webpush", 2)]
    traits = {**TRAITS, "webpush": ChannelTraits("webpush", False, 20.0)}
    starts = {
        mode: [
            step.start_after
            for step in plan(
                three, traits, Demand(text(1), mode=mode, hedge_after=3.0), connected=True
            )
        ]
        for mode in Mode
    }
    assert starts == {
        Mode.FALLBACK: [0.0, None, None],
        Mode.PARALLEL: [0.0, 0.0, 0.0],
        Mode.HEDGED: [0.0, 3.0, 6.0],
    }
    unsaid = plan(three, traits, Demand(text(1), mode=Mode.HEDGED), connected=True)
    assert [step.start_after for step in unsaid] == [0.0, 2.0, 4.0]


@given(channels_and_traits(), st.booleans(), st.integers(0, 4096))
def test_only_usable_channels_in_the_clients_order(
    drawn: tuple[list[Channel], dict[str, ChannelTraits], Mode], connected: bool, octets: int
) -> None:
    """Active, installed, and connected where that is needed; the first step starts at once."""
    channels, traits, mode = drawn
    made = plan(channels, traits, Demand(text(octets), mode=mode), connected=connected)
    by_type = {row.type: row for row in channels}
    for step in made:
        assert by_type[step.channel].state is ChannelState.ACTIVE
        assert connected or not traits[step.channel].connection_oriented
        assert step.connected == traits[step.channel].connection_oriented
    ranks = [by_type[step.channel].rank for step in made]
    assert ranks == sorted(ranks)
    assert len({step.channel for step in made}) == len(made)
    assert not made or made[0].start_after == 0.0


@given(steps(), st.floats(-5, 100), st.booleans())
def test_the_one_rule(step: Step, seconds: float, all_before_over: bool) -> None:
    """A step may start when its time has come, or when all before it are over; else not."""
    now = EPOCH + timedelta(seconds=seconds)
    own = starts_at(step, EPOCH)
    may = may_start(step, planned_at=EPOCH, now=now, all_before_over=all_before_over)
    assert may == (all_before_over or (own is not None and own <= now))
    if own is not None:
        assert may_start(step, planned_at=EPOCH, now=own, all_before_over=False), (
            "at its own time to the microsecond, or the deadline would come for ever"
        )


@given(plans(min_size=1))
def test_every_plan_starts_its_steps_by_that_rule(made: tuple[Step, ...]) -> None:
    """Followed by deadlines, without any report: every attempt that starts for the first time obeys
    the rule, none that may start is left waiting, and the order is the plan's.
    """
    # No retries within the TTL: silence ends a step.
    never = Backoff(first=1_000.0, ceiling=1_000.0)
    delivery = a_delivery(ttl=600)
    decision = take(delivery, Planned(made), EPOCH, backoff=never)
    begun: dict[int, int] = {}
    for _ in range(50):
        now = decision.delivery.story[-1].at
        for effect in decision.effects:
            if isinstance(effect, StartStep):
                assert effect.step not in begun, "each step once: nothing was retried"
                begun[effect.step] = effect.attempt
        _held(decision.delivery, made)
        if decision.delivery.deadline is None or decision.delivery.state.value == "stored":
            break
        now = decision.delivery.deadline
        decision = take(decision.delivery, DeadlineReached(), now, backoff=never)
    assert set(begun) == set(range(len(made)))


def _held(delivery: Delivery, made: tuple[Step, ...]) -> None:
    now = delivery.story[-1].at
    for index, state in enumerate(delivery.steps):
        own = starts_at(made[index], EPOCH)
        before_over = all(earlier.over is not None for earlier in delivery.steps[:index])
        if not state.started:
            assert not before_over
            assert own is None or own > now


@pytest.mark.parametrize("window", [0.0, -1.0, 0.0001, float("nan"), float("inf"), 1e9])
def test_a_window_that_cannot_be_followed_is_refused(window: float) -> None:
    """A step without a time to wait would be due for ever."""
    with pytest.raises(ValueError, match="ack_within"):
        Step("sms", 0.0, window)
