"""What the server says of an older command, or of another one, changes nothing that counts now."""

from __future__ import annotations

import pytest

from aoi_events.client.core.inputs import (
    ApplicationAsked,
    ApplicationLeft,
    Closed,
    OffersChanged,
    Started,
)
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.answers import (
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    SelectedChannel,
)
from aoi_events.contracts.device import AnswerFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.oma_push.payload import ChallengePush
from tests.unit.client.rehearsal import MAIL, Rehearsal, by_sms

KEY = f"{MAIL}/default"
CHAT = "org.example.chat"
WEBSOCKET = SelectedChannel(type="websocket", state="active")
SMS = SelectedChannel(type="sms", state="active")


@pytest.fixture
def rehearsal() -> Rehearsal:
    """A registered device whose first app has just asked."""
    rehearsal = Rehearsal()
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.register()
    return rehearsal


def answer_to(rehearsal: Rehearsal, number: int, name: str, answer: AnyAnswer) -> None:
    """The server answers the request of that number, which may not be the last of its kind."""
    body = answer.model_dump(mode="json", exclude_none=True)
    rehearsal.receive(AnswerFrame(id=number, name=name, body=body))


@pytest.mark.parametrize("theirs,ours", [(1, 2), (5, 6)])
@pytest.mark.parametrize(
    "name,answer",
    [
        ("channel.activate", ChannelsActivatedV1(sequence=0, applied=False, selected=())),
        ("application.register", ApplicationRegisteredV1(sequence=0, applied=False)),
    ],
)
def test_a_command_that_was_not_applied_goes_on_above(
    rehearsal: Rehearsal, name: str, answer: AnyAnswer, theirs: int, ours: int
) -> None:
    """Above the number that the store has: also where that is equal, of another command."""
    rehearsal.answer(name, answer.model_copy(update={"sequence": theirs}))
    assert [each.body["sequence"] for each in rehearsal.requests(name)] == [1, ours]


@pytest.mark.parametrize("sequence,kept", [(0, 1), (1, 1), (2, 2), (MAX_SEQUENCE, 1)])
def test_a_welcome_only_raises_the_number(rehearsal: Rehearsal, sequence: int, kept: int) -> None:
    """A lower number, or one above which there is none, is not taken over."""
    rehearsal.serve()
    assert rehearsal.stored.sequence == 1
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.open()
    client = rehearsal.stored.client or ""
    rehearsal.receive(
        WelcomeFrame(client=client, session="s", epoch=2, sequence=sequence, ping_every=30.0)
    )
    assert rehearsal.stored.sequence == kept


def test_a_confirmation_of_an_older_set_changes_no_newer_one(rehearsal: Rehearsal) -> None:
    """A code was right, and meanwhile the device offers other channels: that answer counts."""
    rehearsal.serve(pending_sms=True)
    rehearsal.play(by_sms(ChallengePush("K3Y9AB")))
    number, _ = rehearsal.pending("channel.confirm")
    rehearsal.play(OffersChanged((ChannelOffer(type="websocket"),)))
    older = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS))
    answer_to(rehearsal, number, "channels.activated.v1", older)
    assert rehearsal.stored.active == {"websocket"}
    assert rehearsal.stored.codes == {}


def test_an_older_deregistration_ends_no_newer_one(rehearsal: Rehearsal) -> None:
    """An app left, came back, and left again: only the last word says that the server knows."""
    rehearsal.serve()
    rehearsal.play(ApplicationLeft(KEY))
    first, _ = rehearsal.pending("application.deregister")
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.play(ApplicationLeft(KEY))
    answer_to(
        rehearsal, first, "application.deregistered.v1", ApplicationDeregisteredV1(sequence=2)
    )
    assert rehearsal.stored.applications[KEY].due


def test_another_app_that_starts_repeats_no_registration(rehearsal: Rehearsal) -> None:
    """Only a start of the same app while its registration is under way has it said once more."""
    rehearsal.play(ApplicationAsked(CHAT, "default"))
    rehearsal.serve()
    asked = [each.body["application"] for each in rehearsal.requests("application.register")]
    assert sorted(asked) == sorted([MAIL, CHAT])
