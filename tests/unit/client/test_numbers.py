"""Numbers of commands: what is under way counts only if it is the last word, and numbers end."""

from __future__ import annotations

import pytest

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    ApplicationLeft,
    Closed,
    OffersChanged,
    Started,
)
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import AnswerFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer
from tests.unit.client.rehearsal import MAIL, OFFERS, Rehearsal

KEY = f"{MAIL}/default"
SENDER_KEY = "B" + "A" * 86
REGISTER, DEREGISTER = "application.register", "application.deregister"


@pytest.fixture
def rehearsal() -> Rehearsal:
    """A registered device whose first app has just asked."""
    rehearsal = Rehearsal()
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.register()
    return rehearsal


def numbers(rehearsal: Rehearsal, name: str) -> list[int]:
    """The numbers of the requests of that name that went out."""
    return [each.body["sequence"] for each in rehearsal.requests(name)]


def test_a_registration_for_another_key_does_not_wait_for_the_one_under_way(
    rehearsal: Rehearsal,
) -> None:
    """The answer to the one under way is for the old key: the new one is asked for at once."""
    rehearsal.play(ApplicationAsked(MAIL, "default", SENDER_KEY))
    assert numbers(rehearsal, REGISTER) == [1, 3]


def test_offers_that_change_back_do_not_count_as_under_way(rehearsal: Rehearsal) -> None:
    """What was offered first is overtaken by what was offered then, so it is offered once more."""
    rehearsal.play(OffersChanged((ChannelOffer(type="websocket"),)))
    rehearsal.play(OffersChanged(OFFERS))
    assert numbers(rehearsal, "channel.activate") == [1, 2, 3]


def test_with_the_last_number_an_app_gets_no_token_that_it_gave_up(rehearsal: Rehearsal) -> None:
    """There is no number left to deregister with, and the registration under way still has the
    app's last number: its token is not kept all the same.
    """
    last = ApplicationRegisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    rehearsal.answer(REGISTER, last)
    assert numbers(rehearsal, REGISTER) == [1, MAX_SEQUENCE]
    rehearsal.play(ApplicationLeft(KEY))
    assert numbers(rehearsal, DEREGISTER) == []
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=MAX_SEQUENCE)
    rehearsal.answer(REGISTER, answer)
    assert rehearsal.stored.applications[KEY].token is None
    assert rehearsal.told(ApplicationRegistered) == []


def test_with_the_last_number_an_app_that_came_back_is_not_deregistered(
    rehearsal: Rehearsal,
) -> None:
    """It could not be said that it came back, so what the server says is about the app before."""
    rehearsal.serve()
    rehearsal.play(ApplicationLeft(KEY))
    last = ApplicationDeregisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    rehearsal.answer(DEREGISTER, last)
    assert numbers(rehearsal, DEREGISTER) == [2, MAX_SEQUENCE]
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.answer(DEREGISTER, ApplicationDeregisteredV1(sequence=MAX_SEQUENCE))
    assert rehearsal.stored.applications[KEY].due
    assert rehearsal.told(ApplicationDeregistered) == []


def test_a_refused_deregistration_ends_no_app_that_came_back(rehearsal: Rehearsal) -> None:
    """The server does not know the instance that left; the one that runs is still to register."""
    rehearsal.serve()
    rehearsal.play(ApplicationLeft(KEY))
    number, _ = rehearsal.pending(DEREGISTER)
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    body = RefusedV1(code="not_found", message="no").model_dump(mode="json", exclude_none=True)
    rehearsal.receive(AnswerFrame(id=number, name="refused.v1", body=body))
    assert rehearsal.stored.applications[KEY].due
    assert rehearsal.told(ApplicationDeregistered) == []


def test_another_key_does_not_count_beyond_the_last_number(rehearsal: Rehearsal) -> None:
    """The number of an app instance stays one that a request may carry."""
    last = ApplicationRegisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    rehearsal.answer(REGISTER, last)
    rehearsal.play(ApplicationAsked(MAIL, "default", SENDER_KEY))
    assert rehearsal.stored.applications[KEY].sequence == MAX_SEQUENCE
    assert numbers(rehearsal, REGISTER) == [1, MAX_SEQUENCE]


def test_with_the_last_number_no_channel_is_offered_any_more(rehearsal: Rehearsal) -> None:
    """The server's number leaves one; after it there is none, and the device goes on without."""
    rehearsal.serve()
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.open()
    client = rehearsal.stored.client or ""
    rehearsal.receive(
        WelcomeFrame(
            client=client, session="s", epoch=2, sequence=MAX_SEQUENCE - 1, ping_every=30.0
        )
    )
    for offers in ((ChannelOffer(type="websocket"),), OFFERS):
        rehearsal.play(OffersChanged(offers))
    assert numbers(rehearsal, "channel.activate") == [1, MAX_SEQUENCE]
