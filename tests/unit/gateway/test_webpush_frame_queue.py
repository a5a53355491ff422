"""The commands of a browser that wait for their turn, and their bounds in octets and time."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from aoi_events.contracts.answers import ApplicationDeregisteredV1
from aoi_events.gateway.protocol.effects import Effect, ForwardRequest
from tests.support.browser_frames import (
    CHANNEL_ID,
    ENTRY,
    OTHER_CHANNEL_ID,
    hello,
    register,
    unregister,
)
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.browsers import (
    SUBSCRIBED,
    admit,
    answer,
    asked,
    new_session,
    open_session,
    receive,
    unregistered,
)
from tests.unit.gateway.samples import closing, frames


def registers(effects: list[Effect]) -> list[ForwardRequest]:
    """The requests among the effects."""
    return [effect for effect in effects if isinstance(effect, ForwardRequest)]


def test_commands_in_flight_are_bounded() -> None:
    """Past the bound commands wait, and go to the workers in order as others are answered."""
    session = open_session(requests_in_flight=2)
    first, second = asked(receive(session, register())), asked(receive(session, unregister()))
    assert receive(session, register(OTHER_CHANNEL_ID)) == []
    assert receive(session, unregister(OTHER_CHANNEL_ID)) == []
    reply, third = answer(session, first, *SUBSCRIBED)
    assert frames([reply])[0]["status"] == 200
    assert asked([third]).name == "application.register"
    _, fourth = session.unanswered(second.id, elapsed=1.0, now=NOW)
    assert asked([fourth]).name == "application.deregister"
    assert registers(answer(session, asked([third]), *SUBSCRIBED)) == []


@pytest.mark.parametrize("command", [register, unregister])
def test_500_commands_at_once_are_all_answered(command: Callable[[str], str]) -> None:
    """Firefox registers, or ends, all subscriptions at once: none is refused, and none is lost."""
    session = open_session()
    channels = [str(UUID(int=number)) for number in range(500)]
    effects = [effect for channel in channels for effect in receive(session, command(channel))]
    assert len(effects) == 16
    replies: list[str] = []
    while effects:
        ask = effects.pop(0)
        if isinstance(ask, ForwardRequest):
            gone = ApplicationDeregisteredV1(sequence=1)
            body = SUBSCRIBED if command is register else ("application.deregistered.v1", gone)
            effects += answer(session, ask, *body)
        else:
            (reply,) = frames([ask])
            assert reply["status"] == 200
            replies.append(reply["channelID"])
    assert replies == channels


def test_commands_that_wait_are_bounded_in_octets() -> None:
    """A command that does not fit the queue is refused with 429, and counts as a frame."""
    session = open_session(requests_in_flight=1, commands_octets=32_768, frames_burst=3)
    asked(receive(session, register()))
    fit = 32_768 // (len(register()) + ENTRY)
    assert all(receive(session, register()) == [] for _ in range(fit))
    for _ in range(5):
        (reply,) = frames(receive(session, register()))
        assert reply["status"] == 429
    codes = [closing(receive(session, register())) for _ in range(3)]
    assert 4774 in codes


def test_commands_that_wait_are_bounded_in_time() -> None:
    """A command that waited too long is refused with 503, and those behind it have their turn."""
    session = open_session(requests_in_flight=1, commands_within=30)
    first = asked(receive(session, register(), 1.0))
    receive(session, register(), 2.0)
    receive(session, unregister(OTHER_CHANNEL_ID), 3.0)
    assert session.due() == 32.0
    assert session.tick(elapsed=31.9, now=NOW) == []
    (reply,) = frames(session.tick(elapsed=32.0, now=NOW))
    assert (reply["channelID"], reply["status"]) == (CHANNEL_ID, 503)
    assert session.due() == 33.0
    _, second = session.unanswered(first.id, elapsed=32.5, now=NOW)
    assert asked([second]).name == "application.deregister"
    assert session.due() is None


def test_endless_commands_are_slowed_down() -> None:
    """Past the burst a command waits until the rate allows it; time alone lets it go."""
    session = open_session(commands_burst=2, frames_per_second=0.5)
    ids = [asked(receive(session, register())).id for _ in range(2)]
    assert receive(session, register()) == []
    assert session.due() == 3.0
    for request in ids:
        session.unanswered(request, elapsed=1.0, now=NOW)
    assert session.tick(elapsed=2.9, now=NOW) == []
    assert asked(session.tick(elapsed=3.0, now=NOW)).name == "application.register"


def test_invalid_commands_count_as_frames() -> None:
    """Commands that no worker answers are bounded as other frames are."""
    session = open_session(frames_burst=5, frames_per_second=1)
    codes = [closing(receive(session, register("x"))) for _ in range(12)]
    assert 4774 in codes


def test_commands_of_an_unregistered_browser_are_bounded_in_octets() -> None:
    """A command that does not fit the queue is refused with 429."""
    session = unregistered(commands_octets=32_768)
    asked(receive(session, register()))
    for _ in range(32_768 // (len(register()) + ENTRY) - 1):
        assert receive(session, register()) == []
    (reply,) = frames(receive(session, register()))
    assert reply["status"] == 429


def test_frames_before_the_answer_to_the_hello_are_bounded() -> None:
    """Frames that do not fit the queue end the connection before a worker sees them."""
    session = new_session(commands_octets=32_768)
    receive(session, hello())
    codes = [closing(receive(session, register() + " " * 20_000)) for _ in range(2)]
    assert codes == [None, 4774]
    session = new_session(commands_octets=32_768)
    receive(session, hello())
    codes = [closing(receive(session, "")) for _ in range(32_768 // ENTRY + 1)]
    assert codes.index(4774) == 32_768 // ENTRY, "empty frames take room, too"
    session = new_session()
    receive(session, hello())
    assert receive(session, "no JSON") == []
    assert closing(admit(session)) == 1008
