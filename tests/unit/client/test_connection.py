"""8.1: when a connection is made again: each pause is longer, until one works."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aoi_events.client.core.events import Disconnected
from aoi_events.client.core.inputs import (
    Closed,
    NetworkChanged,
    ReconnectAsked,
    Started,
    Unanswered,
)
from aoi_events.client.core.reconnect import Backoff, pause
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.device import CloseCode, GoodbyeFrame, WelcomeFrame
from tests.unit.client.rehearsal import CELLULAR, Rehearsal

BACKOFF = Backoff(first=1.0, most=20.0)


def registered() -> Rehearsal:
    """A device that has registered and is connected."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.register()
    rehearsal.serve()
    return rehearsal


def refused(device: Rehearsal) -> None:
    """No connection can be made."""
    device.play(Closed(device.generation, None, "nobody there"))


def hung_up(device: Rehearsal) -> None:
    """A connection opens, and ends before the welcome."""
    device.open()
    device.play(Closed(device.generation, None, "ended"))


def pauses(device: Rehearsal) -> list[float]:
    """The pauses before every connection so far, without jitter."""
    return [pause(BACKOFF, opening.failures, 0.0) for opening in device.opened()]


@pytest.mark.parametrize("fails", [refused, hung_up])
def test_pauses_grow_up_to_the_cap(fails: Callable[[Rehearsal], None]) -> None:
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


@pytest.mark.parametrize("occasion", [NetworkChanged(CELLULAR), ReconnectAsked()])
def test_a_new_occasion_begins_anew(occasion: NetworkChanged | ReconnectAsked) -> None:
    """Another network, or being asked to connect, does not wait, and counts from zero."""
    device = registered()
    for _ in range(4):
        refused(device)
    device.effects.clear()
    device.play(occasion)
    refused(device)
    refused(device)
    assert pauses(device) == [0, 1, 2]


def test_a_connection_that_does_not_work_counts_as_a_failure() -> None:
    """A request that is not answered ends the connection, and each time the pause is longer."""
    device = Rehearsal(register_on="install")
    device.play(Started())
    for _ in range(4):
        device.open()
        number, _ = device.pending("client.register")
        device.play(Unanswered(device.generation, number))
    assert pauses(device) == [0, 1, 2, 4, 8]


def test_a_goodbye_says_why_a_connection_without_a_code_ended() -> None:
    """Not every end carries the server's code: then that of the goodbye before it counts."""
    device = registered()
    device.receive(GoodbyeFrame(code=CloseCode.REPLACED, message="another one"))
    device.play(Closed(device.generation, None, "ended"))
    assert device.told(Disconnected)[-1].code == CloseCode.REPLACED
    assert device.opened()[-1].replaced
    device.connect()
    device.play(Closed(device.generation, None, "ended"))
    assert device.told(Disconnected)[-1].code is None


@pytest.mark.parametrize("sequence", [MAX_SEQUENCE, MAX_SEQUENCE + 1])
def test_a_welcome_does_not_use_the_numbers_up(sequence: int) -> None:
    """A sequence number after which there is none is not believed."""
    device = registered()
    device.play(Closed(device.generation, None, "cut"))
    device.open()
    before = device.stored.sequence
    client = device.stored.client or ""
    device.receive(
        WelcomeFrame(client=client, session="s", epoch=2, sequence=sequence, ping_every=30.0)
    )
    assert device.stored.sequence == before
