"""The operator's rules: bounds that hold in every mode, defaults that a sender may override."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits, octets_of
from aoi_events.domain.planning.plans import Demand, Obstacle, Step, candidates, mode_of, plan
from aoi_events.domain.planning.policy import NO_RULES, ChannelRules, Policy, Rules, urgent_enough
from tests.support.strategies import CHANNELS, channels_and_traits, demands, rules

Drawn = tuple[list[Channel], dict[str, ChannelTraits], Mode]

TRAITS = {
    "websocket": ChannelTraits("websocket", connection_oriented=True, ack_within=10.0),
    "webpush": ChannelTraits("webpush", False, 60.0, cost=0.1),
    "sms": ChannelTraits("sms", False, 60.0, largest_content=133, cost=1.0),
}
EVERY = [
    Channel("cli_" + "a" * 26, kind, ChannelState.ACTIVE, rank) for rank, kind in enumerate(TRAITS)
]
HELLO = Content(data="hello")
PLAIN = Demand(HELLO)


def made(demand: Demand = PLAIN, **how: object) -> list[str]:
    """The channels of a plan over all three, under rules that say this."""
    steps = plan(EVERY, TRAITS, demand, connected=True, rules=Rules(**how))  # type: ignore[arg-type]
    return [step.channel for step in steps]


@given(channels_and_traits(), demands(), rules(), st.booleans())
def test_bounds_hold_in_every_mode(
    drawn: Drawn, demand: Demand, own: Rules, connected: bool
) -> None:
    """Whatever a sender asks for: no gate is passed, nothing too large goes out whole, and the plan
    costs no more than is left.
    """
    channels, traits, _ = drawn
    left = None if own.most_cost is None else max(own.most_cost - demand.spent, 0.0)
    steps = plan(channels, traits, demand, connected=connected, rules=own)
    for step in steps:
        said = own.of(step.channel)
        assert said.least_urgency is None or urgent_enough(demand.urgency, said.least_urgency)
        if demand.content is not None and said.largest is not None and not step.wake_up:
            assert octets_of(demand.content) <= said.largest
        assert step.ack_within == said.ack_within or said.ack_within is None
    assert left is None or sum(step.cost for step in steps) <= left + 1e-6


@given(channels_and_traits(), demands(), rules(), st.booleans())
def test_every_channel_is_used_once_or_it_is_said_why_not(
    drawn: Drawn, demand: Demand, own: Rules, connected: bool
) -> None:
    """At most one step a channel, in the order of the candidates, each of which has a step or an
    obstacle, and not both.
    """
    channels, traits, _ = drawn
    found = candidates(channels, traits, demand, connected=connected, rules=own)
    assert {each.channel.type for each in found} == {channel.type for channel in channels}
    assert all((each.step is None) != (each.obstacle is None) for each in found)
    steps = plan(channels, traits, demand, connected=connected, rules=own)
    assert steps == tuple(each.step for each in found if each.step is not None)
    assert len({step.channel for step in steps}) == len(steps) <= len(CHANNELS)
    preferred = [kind for kind in own.preference or () if kind in {c.type for c in channels}]
    assert [each.channel.type for each in found][: len(preferred)] == preferred


@given(channels_and_traits(), demands(), rules(), st.booleans())
def test_starts_follow_the_one_rule(
    drawn: Drawn, demand: Demand, own: Rules, connected: bool
) -> None:
    """The first step starts at once; the others never earlier than those before them: all at once
    in parallel, each a head start later in a hedge, and in a fallback by no time of their own.
    """
    channels, traits, _ = drawn
    mode, after = mode_of(demand, own)
    starts = [
        step.start_after for step in plan(channels, traits, demand, connected=connected, rules=own)
    ]
    later = {Mode.FALLBACK: None, Mode.PARALLEL: 0.0, Mode.HEDGED: after}[mode]
    expected = [0.0, *(later and later * index for index in range(1, len(starts)))]
    assert starts == expected[: len(starts)]
    own_times = [start for start in starts if start is not None]
    assert own_times == sorted(own_times)


@given(channels_and_traits(), st.integers(0, 4096), st.sampled_from(Urgency), st.booleans())
def test_without_rules_and_wishes_it_falls_back_in_the_clients_order(
    drawn: Drawn, octets: int, urgency: Urgency, connected: bool
) -> None:
    """An empty policy changes nothing: active, installed and reachable channels, best first, each
    as it says of itself, one after the other.
    """
    channels, traits, _ = drawn
    content = Content(data="x" * octets)
    usable = [
        (channel, traits[channel.type])
        for channel in sorted(channels, key=lambda each: (each.rank, each.type))
        if channel.usable and channel.type in traits
    ]
    expected = [
        Step(
            channel.type,
            None,
            trait.ack_within,
            wake_up=octets > min(channel.largest_content or 4096, trait.largest_content or 4096),
            connected=trait.connection_oriented,
            cost=trait.cost,
        )
        for channel, trait in usable
        if connected or not trait.connection_oriented
    ]
    expected[:1] = [replace(first, start_after=0.0) for first in expected[:1]]
    steps = plan(channels, traits, Demand(content, urgency), connected=connected)
    assert steps == tuple(expected)


@pytest.mark.parametrize(
    "sender, application, every, counts",
    [
        (None, None, None, (Mode.FALLBACK, 2.0)),
        (None, None, (Mode.HEDGED, 5.0), (Mode.HEDGED, 5.0)),
        (None, (Mode.PARALLEL, None), (Mode.HEDGED, 5.0), (Mode.PARALLEL, 5.0)),
        (None, (None, 3.0), (Mode.HEDGED, 5.0), (Mode.HEDGED, 3.0)),
        ((Mode.HEDGED, None), (Mode.PARALLEL, 3.0), None, (Mode.HEDGED, 3.0)),
        ((Mode.HEDGED, 1.0), (Mode.PARALLEL, 3.0), (None, 5.0), (Mode.HEDGED, 1.0)),
    ],
)
def test_who_decides_on_the_mode(
    sender: tuple[Mode, float | None] | None,
    application: tuple[Mode | None, float | None] | None,
    every: tuple[Mode | None, float | None] | None,
    counts: tuple[Mode, float],
) -> None:
    """The notification before the application, that before all, and then what is built in."""
    own = {"mail": Rules(*application)} if application is not None else {}
    policy = Policy(Rules(*every) if every is not None else NO_RULES, own)
    mode, after = sender or (None, None)
    demand = Demand(HELLO, mode=mode, hedge_after=after)
    assert mode_of(demand, policy.rules_for("mail")) == counts
    assert mode_of(Demand(HELLO), policy.rules_for("news"))[0] == (
        (every or (None,))[0] or "fallback"
    )


def test_an_application_replaces_what_holds_for_all_key_by_key() -> None:
    """Also within a channel; what it does not name stays."""
    everywhere = Rules(
        most_cost=1.0,
        preference=("sms",),
        channels={"sms": ChannelRules(Urgency.HIGH, 30.0), "webpush": ChannelRules(cost=0.5)},
    )
    mail = Rules(channels={"sms": ChannelRules(Urgency.LOW, largest=100)})
    policy = Policy(everywhere, {"mail": mail})
    assert policy.applications == ("mail",)
    assert policy.rules_for("other") == everywhere
    rules_of_mail = policy.rules_for("mail")
    assert rules_of_mail.of("sms") == ChannelRules(Urgency.LOW, 30.0, 100)
    assert rules_of_mail.of("webpush") == ChannelRules(cost=0.5)
    assert (rules_of_mail.most_cost, rules_of_mail.preference) == (1.0, ("sms",))


def test_below_high_never_by_sms() -> None:
    """An urgency gate: what is urgent enough passes, all else has the other channels only."""
    gate = {"sms": ChannelRules(least_urgency=Urgency.HIGH)}
    for urgency in Urgency:
        demand = Demand(HELLO, urgency, Mode.PARALLEL)
        used = made(demand, channels=gate)
        assert ("sms" in used) == (urgency is Urgency.HIGH)
    offline = candidates(
        [EVERY[2]], TRAITS, Demand(HELLO), connected=False, rules=Rules(channels=gate)
    )
    assert [each.obstacle for each in offline] == [Obstacle.NOT_URGENT_ENOUGH]


def test_what_is_left_decides_which_channels_are_affordable() -> None:
    """Best first, each that fits into what is left; a cheaper one behind it may fit yet; what was
    spent before counts; what costs nothing always may.
    """
    assert made(most_cost=1.1) == ["websocket", "webpush", "sms"]
    assert made(most_cost=1.0) == ["websocket", "webpush"]
    assert made(most_cost=1.0, preference=("sms",)) == ["sms", "websocket"]
    assert made(most_cost=0.0) == ["websocket"]
    assert made(Demand(HELLO, spent=1.05), most_cost=1.1) == ["websocket"]
    free = {"sms": ChannelRules(cost=0.0)}
    assert made(Demand(HELLO, spent=9.0), most_cost=1.0, channels=free) == ["websocket", "sms"]
    tenths = {kind: ChannelRules(cost=0.1) for kind in TRAITS}
    assert len(made(most_cost=0.3, channels=tenths)) == 3, "in tenths, which floats are not"


def test_each_message_of_a_content_costs() -> None:
    """Content that takes three messages costs three times as much; a wake-up is one message."""
    traits = {"sms": replace(TRAITS["sms"], messages=lambda content: 3)}

    def costs(octets: int, **how: object) -> list[tuple[bool, float]]:
        demand = Demand(Content(data="x" * octets))
        rules = Rules(**how)  # type: ignore[arg-type]
        steps = plan([EVERY[2]], traits, demand, connected=False, rules=rules)
        return [(step.wake_up, step.cost) for step in steps]

    assert costs(100) == [(False, 3.0)]
    assert costs(134) == [(True, 1.0)]
    assert costs(100, channels={"sms": ChannelRules(cost=0.5)}) == [(False, 1.5)]
    assert costs(100, most_cost=2.0) == []
    assert costs(134, most_cost=2.0) == [(True, 1.0)]


def test_preferred_channels_come_first() -> None:
    """In the operator's order; those that it does not name follow in the client's."""
    assert made(preference=("sms", "websocket")) == ["sms", "websocket", "webpush"]


@pytest.mark.parametrize("device, operator", [(50, 100), (100, 50)])
def test_the_smaller_of_two_limits_holds(device: int, operator: int) -> None:
    """The device's limit of content and the operator's: what is larger than either wakes up."""
    channels = [replace(EVERY[1], largest_content=device)]
    own = Rules(channels={"webpush": ChannelRules(largest=operator)})
    for octets, wake_up in ((50, False), (51, True)):
        demand = Demand(Content(data="x" * octets))
        (step,) = plan(channels, TRAITS, demand, connected=False, rules=own)
        assert step.wake_up is wake_up
