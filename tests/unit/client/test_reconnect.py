"""8.1: when a connection is made again: each pause is longer, until one works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.client.core.events import Disconnected
from aoi_events.client.core.inputs import (
    ClientStarted,
    ConnectionClosed,
    NetworkChanged,
    ReconnectRequested,
    RequestTimedOut,
)
from aoi_events.client.core.reconnect import ReconnectPolicy
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.device import CloseCode, GoodbyeFrame, WelcomeFrame
from tests.unit.client.device_harness import CELLULAR, DeviceHarness

POLICY = ReconnectPolicy(first=1.0, most=20.0)


def registered() -> DeviceHarness:
    """A device that has registered and is connected."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.register()
    device.serve()
    return device


def refused(device: DeviceHarness) -> None:
    """No connection can be made."""
    device.feed(ConnectionClosed(device.generation, None, "nobody there"))


def hung_up(device: DeviceHarness) -> None:
    """A connection opens, and ends before the welcome."""
    device.open()
    device.feed(ConnectionClosed(device.generation, None, "ended"))


def pauses(device: DeviceHarness) -> list[float]:
    """The pauses before every connection so far, at their longest."""
    return [POLICY.pause(effect.failures, 1.0) for effect in device.connects()]


@pytest.mark.parametrize("fails", [refused, hung_up])
def test_pauses_grow_up_to_the_cap(fails: Callable[[DeviceHarness], None]) -> None:
    """The first connection is made at once; after each one that failed or ended before the welcome
    the pause is twice as long, up to the cap.
    """
    device = registered()
    device.effects.clear()
    for _ in range(8):
        fails(device)
    assert pauses(device) == [1, 2, 4, 8, 16, 20, 20, 20]


def test_a_welcome_begins_anew() -> None:
    """After a session the first pause is the shortest again."""
    device = registered()
    for _ in range(4):
        refused(device)
    device.connect()
    device.effects.clear()
    refused(device)
    refused(device)
    assert pauses(device) == [1, 2]


@pytest.mark.parametrize("occasion", [NetworkChanged(CELLULAR), ReconnectRequested()])
def test_a_new_occasion_begins_anew(occasion: NetworkChanged | ReconnectRequested) -> None:
    """Another network, or being asked to connect, does not wait, and counts from zero."""
    device = registered()
    for _ in range(4):
        refused(device)
    device.effects.clear()
    device.feed(occasion)
    refused(device)
    refused(device)
    assert pauses(device) == [0, 1, 2]


def test_a_connection_that_does_not_work_counts_as_a_failure() -> None:
    """A request that is not answered ends the connection, and each time the pause is longer."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    for _ in range(4):
        device.open()
        number, _ = device.pending("client.register")
        device.feed(RequestTimedOut(device.generation, number))
    assert pauses(device) == [0, 1, 2, 4, 8]


def test_a_goodbye_says_why_a_connection_without_a_code_ended() -> None:
    """Not every end carries the server's code: then that of the goodbye before it counts."""
    device = registered()
    device.receive(GoodbyeFrame(code=CloseCode.REPLACED, message="another one"))
    device.feed(ConnectionClosed(device.generation, None, "ended"))
    assert device.emitted(Disconnected)[-1].code == CloseCode.REPLACED
    assert device.connects()[-1].replaced
    device.connect()
    device.feed(ConnectionClosed(device.generation, None, "ended"))
    assert device.emitted(Disconnected)[-1].code is None


@pytest.mark.parametrize("sequence", [MAX_SEQUENCE, MAX_SEQUENCE + 1])
def test_a_welcome_does_not_use_the_numbers_up(sequence: int) -> None:
    """A welcome with the highest sequence number or more is ignored."""
    device = registered()
    device.feed(ConnectionClosed(device.generation, None, "cut"))
    device.open()
    before = device.stored.sequence
    client = device.stored.client or ""
    device.receive(
        WelcomeFrame(client=client, session="s", epoch=2, sequence=sequence, ping_every=30.0)
    )
    assert device.stored.sequence == before


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_are_capped(failures: int, jitter: float) -> None:
    """No pause without a failure; then it doubles up to the cap, less up to half of it."""
    policy = ReconnectPolicy(first=0.5, most=60.0)
    seconds = policy.pause(failures, jitter)
    full = min(60.0, 0.5 * 2 ** min(failures - 1, 20)) if failures else 0.0
    assert full / 2 <= seconds <= full


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_a_replaced_connection_waits_long(failures: int, jitter: float) -> None:
    """The long pause has jitter too, so that replaced clients come back at different times."""
    seconds = ReconnectPolicy(replaced=600.0).pause(failures, jitter, replaced=True)
    assert 300.0 <= seconds <= 600.0


def test_a_replaced_connection_without_a_pause_is_refused() -> None:
    """Two connections of one client would chase each other away without end."""
    with pytest.raises(ValueError, match="replaced"):
        ReconnectPolicy(replaced=0.0)


@pytest.mark.parametrize("first, most", [(0.0, 1.0), (-1.0, 1.0), (0.0009, 1.0), (2.0, 1.0)])
def test_a_policy_without_a_pause_is_refused(first: float, most: float) -> None:
    """A first pause of nothing, or one above the cap, is refused."""
    with pytest.raises(ValueError, match="first"):
        ReconnectPolicy(first, most)
