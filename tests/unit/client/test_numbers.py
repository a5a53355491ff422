"""Numbers of commands: what is under way counts only if it is the last word, and numbers end."""

from __future__ import annotations

import pytest

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered
from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    OffersChanged,
)
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import AnswerFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer
from tests.unit.client.device_harness import MAIL, OFFERS, DeviceHarness

KEY = f"{MAIL}/default"
SENDER_KEY = "B" + "A" * 86
REGISTER, DEREGISTER = "application.register", "application.deregister"


@pytest.fixture
def device() -> DeviceHarness:
    """A registered device whose first app has just asked."""
    device = DeviceHarness()
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.register()
    return device


def numbers(device: DeviceHarness, name: str) -> list[int]:
    """The numbers of the requests of that name that went out."""
    return [each.body["sequence"] for each in device.requests(name)]


def test_a_registration_for_another_key_does_not_wait_for_the_one_under_way(
    device: DeviceHarness,
) -> None:
    """The answer to the one under way is for the old key: the new one is asked for at once."""
    device.feed(ApplicationStarted(MAIL, "default", SENDER_KEY))
    assert numbers(device, REGISTER) == [1, 3]


def test_offers_that_change_back_do_not_count_as_under_way(device: DeviceHarness) -> None:
    """What was offered first is overtaken by what was offered then, so it is offered once more."""
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    device.feed(OffersChanged(OFFERS))
    assert numbers(device, "channel.activate") == [1, 2, 3]


def test_with_the_last_number_an_app_gets_no_token_that_it_gave_up(device: DeviceHarness) -> None:
    """There is no number left to deregister with, and the registration under way still has the
    app's last number: its token is not kept all the same.
    """
    last = ApplicationRegisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    device.answer(REGISTER, last)
    assert numbers(device, REGISTER) == [1, MAX_SEQUENCE]
    device.feed(ApplicationRemoved(KEY))
    assert numbers(device, DEREGISTER) == []
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=MAX_SEQUENCE)
    device.answer(REGISTER, answer)
    assert device.stored.applications[KEY].token is None
    assert device.emitted(ApplicationRegistered) == []


def test_with_the_last_number_an_app_that_came_back_is_not_deregistered(
    device: DeviceHarness,
) -> None:
    """It could not be said that it came back, so what the server says is about the app before."""
    device.serve()
    device.feed(ApplicationRemoved(KEY))
    last = ApplicationDeregisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    device.answer(DEREGISTER, last)
    assert numbers(device, DEREGISTER) == [2, MAX_SEQUENCE]
    device.feed(ApplicationStarted(MAIL, "default"))
    device.answer(DEREGISTER, ApplicationDeregisteredV1(sequence=MAX_SEQUENCE))
    assert device.stored.applications[KEY].due
    assert device.emitted(ApplicationDeregistered) == []


def test_a_refused_deregistration_ends_no_app_that_came_back(device: DeviceHarness) -> None:
    """The server does not know the instance that left; the one that runs is still to register."""
    device.serve()
    device.feed(ApplicationRemoved(KEY))
    number, _ = device.pending(DEREGISTER)
    device.feed(ApplicationStarted(MAIL, "default"))
    body = RefusedV1(code="not_found", message="no").model_dump(mode="json", exclude_none=True)
    device.receive(AnswerFrame(id=number, name="refused.v1", body=body))
    assert device.stored.applications[KEY].due
    assert device.emitted(ApplicationDeregistered) == []


def test_another_key_does_not_count_beyond_the_last_number(device: DeviceHarness) -> None:
    """The number of an app instance stays one that a request may carry."""
    last = ApplicationRegisteredV1(sequence=MAX_SEQUENCE - 1, applied=False)
    device.answer(REGISTER, last)
    device.feed(ApplicationStarted(MAIL, "default", SENDER_KEY))
    assert device.stored.applications[KEY].sequence == MAX_SEQUENCE
    assert numbers(device, REGISTER) == [1, MAX_SEQUENCE]


def test_with_the_last_number_no_channel_is_offered_any_more(device: DeviceHarness) -> None:
    """The server's number leaves one; after it there is none, and the device goes on without."""
    device.serve()
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.open()
    client = device.stored.client or ""
    device.receive(
        WelcomeFrame(
            client=client, session="s", epoch=2, sequence=MAX_SEQUENCE - 1, ping_every=30.0
        )
    )
    for offers in ((ChannelOffer(type="websocket"),), OFFERS):
        device.feed(OffersChanged(offers))
    assert numbers(device, "channel.activate") == [1, MAX_SEQUENCE]
