"""Which channels become active: a connection first, connectionless ones to fall back on (8.2.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.requests import ActivateChannelsV1, ChannelOffer, Circumstances
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.domain.clients.selection import SelectionPolicy, ValidOffer, offers_hash, select

CONNECTED = {"websocket", "mqtt"}
TYPES = ("websocket", "mqtt", "sms", "webpush", "webhook", "mail")


def offer(kind: str, preference: int = 50, cost: float = 0.0) -> ValidOffer:
    """A valid offer."""
    return ValidOffer(
        ChannelOffer(type=kind, preference=preference),
        ChannelTraits(
            kind,
            connection_oriented=kind in CONNECTED,
            ack_within=10.0,
            cost=cost,
            uses_data=kind != "sms",
        ),
        parameters={},
        address=None,
    )


offers = st.lists(st.sampled_from(TYPES), unique=True).flatmap(
    lambda kinds: st.tuples(
        *(
            st.builds(offer, st.just(k), st.integers(0, 100), st.sampled_from([0.0, 1.0]))
            for k in kinds
        )
    )
)
circumstances = st.builds(
    Circumstances, bearer=st.sampled_from(["unknown", "none", "wifi"]), metered=st.booleans()
)
policies = st.builds(SelectionPolicy, st.integers(0, 2), st.integers(0, 3))


def kinds(valid: tuple[ValidOffer, ...]) -> list[str]:
    """Their types."""
    return [one.offer.type for one in valid]


def test_a_connection_first_and_a_fallback() -> None:
    """Several channels are active at once; the device's preference orders the others."""
    chosen = select(
        [offer("sms", 10, 5.0), offer("webpush", 90), offer("websocket", 0), offer("mqtt", 1)],
        Circumstances(),
        SelectionPolicy(),
    )
    assert kinds(chosen.selected) == ["mqtt", "webpush", "sms"]
    assert set(chosen.reasons) == {"websocket"}


def test_without_a_bearer_the_connection_comes_last() -> None:
    """It stays selected: connecting again needs no new activation."""
    chosen = select(
        [offer("websocket"), offer("sms")], Circumstances(bearer="none"), SelectionPolicy()
    )
    assert kinds(chosen.selected) == ["sms", "websocket"]


@pytest.mark.parametrize("situation", [Circumstances(metered=True), Circumstances(battery=15)])
def test_a_device_that_must_spare_data_gets_what_uses_none_first(
    situation: Circumstances,
) -> None:
    """8.2.2, what the client says counts: on a metered bearer or a low battery SMS falls back
    before channels that use data, whatever the preference; the connection stays first.
    """
    offered = [offer("webpush", 90), offer("sms", 10, 5.0), offer("websocket")]
    spared = select(offered, situation, SelectionPolicy())
    assert kinds(spared.selected) == ["websocket", "sms", "webpush"]
    free = select(offered, Circumstances(battery=16), SelectionPolicy())
    assert kinds(free.selected) == ["websocket", "webpush", "sms"]


@given(offers, circumstances, policies)
def test_the_selection_is_a_function_of_the_set(
    offered: tuple[ValidOffer, ...],
    situation: Circumstances,
    policy: SelectionPolicy,
) -> None:
    """Each type is selected or has a reason; the policy's numbers hold; the order of the offers
    does not matter.
    """
    chosen = select(offered, situation, policy)
    assert sorted([*kinds(chosen.selected), *chosen.reasons]) == sorted(kinds(offered))
    connected = [kind for kind in kinds(chosen.selected) if kind in CONNECTED]
    possible = [kind for kind in kinds(offered) if kind in CONNECTED]
    assert len(connected) == min(policy.connection_oriented, len(possible))
    others = len(chosen.selected) - len(connected)
    assert others == min(policy.connectionless, len(offered) - len(possible))
    assert select(offered[::-1], situation, policy) == chosen


def activation(secret: str | None = None, preference: int = 50) -> ActivateChannelsV1:
    """A request to activate SMS."""
    return ActivateChannelsV1(
        version=1,
        client="cli_" + "a" * 26,
        secret=secret,
        sequence=1,
        offers=(ChannelOffer(type="sms", preference=preference),),
    )


def test_equal_bodies_have_equal_hashes() -> None:
    """Another body under one sequence number has another hash; another proof of the
    client has not.
    """
    assert offers_hash(activation()) == offers_hash(activation(secret="A" * 43))
    assert offers_hash(activation()) != offers_hash(activation(preference=51))


def test_equals_go_by_cost() -> None:
    """Of two that the device prefers alike the cheaper one comes first, and stays."""
    offered = [offer("mail", 50, 0.5), offer("webhook", 50, 0.1), offer("sms", 50, 0.3)]
    chosen = select(offered, Circumstances(), SelectionPolicy(connectionless=2))
    assert kinds(chosen.selected) == ["webhook", "sms"]
    assert set(chosen.reasons) == {"mail"}


def test_a_connection_without_data_is_not_preferred_to_one_with() -> None:
    """To spare data concerns the fall-backs only: among connections the preference decides."""
    quiet = replace(offer("mqtt", 1), traits=replace(offer("mqtt").traits, uses_data=False))
    offered = [quiet, offer("websocket", 99)]
    chosen = select(offered, Circumstances(metered=True), SelectionPolicy())
    assert kinds(chosen.selected) == ["websocket"]
