"""One notification in the modelled world: what each kind of plan makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.states import DeliveryState
from tests.benchmarks.channels.comparing import WAYS, device_traits
from tests.benchmarks.channels.playing import Played, Way, play
from tests.benchmarks.channels.world import Fate, World

TRAITS = device_traits()
FIRST, FALLBACK, HEDGED, PARALLEL = WAYS

numbers = st.integers(0, 100_000)
times = st.floats(0.0, 400.0)


def fate(
    number: int = 1, *, dead: bool = True, back_at: float = 1e6, noticed: float = 40.0
) -> Fate:
    """What notification ``number`` meets, in a world that loses no short message."""
    world = World(sms_lost=0.0)
    return Fate(world, f"1/{number}", 0.0, noticed_at=noticed, back_at=back_at, dead=dead)


def played(fate: Fate, way: Way, *, hedge_after: float = 2.0, ttl: float = 300.0) -> Played:
    """What becomes of it."""
    return play(fate, way, TRAITS, hedge_after=hedge_after, ttl=ttl)


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(number=numbers)
def test_a_connection_that_lives_delivers_at_once(way: Way, number: int) -> None:
    """Nothing is slower than the connection, and only parallel pays for a short message."""
    met = fate(number, dead=False)
    told = played(met, way)
    assert told.arrived is not None
    assert told.arrived <= met.over_connection(1) or way is PARALLEL
    assert told.reported is DeliveryState.DELIVERED
    assert dict(told.sent) == {"websocket": 1, **({"sms": 1} if way is PARALLEL else {})}


@given(number=numbers)
def test_a_dead_connection_costs_the_head_start(number: int) -> None:
    """Parallel loses no time, a hedge its head start, fallback the whole acknowledgement window."""
    met = fate(number)
    parallel, hedged, fallback = (played(met, way).arrived for way in (PARALLEL, HEDGED, FALLBACK))
    assert parallel is not None
    assert hedged is not None
    assert fallback is not None
    assert hedged - parallel == pytest.approx(2.0)
    assert fallback - parallel == pytest.approx(TRAITS["websocket"].ack_within)


@given(number=numbers, noticed=st.floats(0.1, 9.0))
def test_what_the_gateway_notices_starts_the_next_step(number: int, noticed: float) -> None:
    """A connection that is found dead within the window makes fallback as fast as that."""
    slow = played(fate(number), PARALLEL).arrived
    found = played(fate(number, noticed=noticed), FALLBACK).arrived
    assert slow is not None
    assert found is not None
    assert found - slow == pytest.approx(noticed)


@given(number=numbers, back_at=times)
def test_without_another_channel_it_waits_for_the_device(number: int, back_at: float) -> None:
    """The first channel alone delivers once the device is back, if the TTL lasts so long."""
    told = played(fate(number, back_at=back_at), FIRST)
    if back_at < 299.0:
        assert told.arrived is not None
        assert told.arrived >= back_at
        assert told.reported is DeliveryState.DELIVERED
    elif back_at >= 300.0:
        assert told.arrived is None
        assert told.reported is DeliveryState.EXPIRED


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(number=numbers, dead=st.booleans(), back_at=times, ttl=st.floats(1.0, 600.0))
def test_every_notification_ends(
    way: Way, number: int, dead: bool, back_at: float, ttl: float
) -> None:
    """Whatever it meets, its sender is told an end, and what is told as delivered was sent."""
    told = played(fate(number, dead=dead, back_at=back_at), way, ttl=ttl)
    assert told.reported.terminal
    assert told.sent.total() >= 1
    assert told.arrived is None or told.arrived < ttl
    if told.reported is DeliveryState.DELIVERED and way is FIRST:
        assert told.arrived is not None


@given(number=numbers)
def test_an_sms_that_is_lost_is_taken_for_delivered(number: int) -> None:
    """Where the SMSC took what never arrives, and no receipt comes, nobody can know better."""
    met = Fate(World(sms_lost=1.0), f"1/{number}", 0.0, noticed_at=5.0, back_at=1e6, dead=True)
    told = played(met, FALLBACK)
    assert (told.arrived, told.reported) == (None, DeliveryState.DELIVERED)
