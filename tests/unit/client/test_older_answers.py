"""Answers to older or other commands do not change the state of newer ones."""

from __future__ import annotations

import pytest

from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    OffersChanged,
)
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.contracts.answers import (
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.device import AnswerFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.oma_push.payload import ChallengePush
from tests.unit.client.device_harness import MAIL, DeviceHarness, by_sms

KEY = f"{MAIL}/default"
CHAT = "org.example.chat"
WEBSOCKET = SelectedChannel(type="websocket", state="active")
SMS = SelectedChannel(type="sms", state="active")


@pytest.fixture
def device() -> DeviceHarness:
    """A registered device whose first app has started, and is not registered yet."""
    device = DeviceHarness()
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.register()
    return device


def answer_to(device: DeviceHarness, number: int, name: str, answer: AnyAnswer) -> None:
    """The server answers the request of that number, which may not be the last of its kind."""
    body = answer.model_dump(mode="json", exclude_none=True)
    device.receive(AnswerFrame(id=number, name=name, body=body))


@pytest.mark.parametrize("theirs,ours", [(1, 2), (5, 6)])
@pytest.mark.parametrize(
    "name,answer",
    [
        ("channel.activate", ChannelsActivatedV1(sequence=0, applied=False, selected=())),
        ("application.register", ApplicationRegisteredV1(sequence=0, applied=False)),
    ],
)
def test_a_command_that_was_not_applied_goes_on_above(
    device: DeviceHarness, name: str, answer: AnyAnswer, theirs: int, ours: int
) -> None:
    """Above the number that the store has: also where that is equal, of another command."""
    device.answer(name, answer.model_copy(update={"sequence": theirs}))
    assert [each.body["sequence"] for each in device.requests(name)] == [1, ours]


@pytest.mark.parametrize("sequence,kept", [(0, 1), (1, 1), (2, 2), (MAX_SEQUENCE, 1)])
def test_a_welcome_only_raises_the_number(device: DeviceHarness, sequence: int, kept: int) -> None:
    """A welcome with a lower number, or with the highest possible one, changes nothing."""
    device.serve()
    assert device.stored.sequence == 1
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.open()
    client = device.stored.client or ""
    device.receive(
        WelcomeFrame(client=client, session="s", epoch=2, sequence=sequence, ping_every=30.0)
    )
    assert device.stored.sequence == kept


def test_a_confirmation_of_an_older_set_changes_no_newer_one(device: DeviceHarness) -> None:
    """A code was right, and meanwhile the device offers other channels: that answer counts."""
    device.serve(pending_sms=True)
    device.feed(by_sms(ChallengePush("K3Y9AB")))
    number, _ = device.pending("channel.confirm")
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    older = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS))
    answer_to(device, number, "channels.activated.v1", older)
    assert device.stored.active == {"websocket"}
    assert device.stored.codes == {}


def test_an_older_deregistration_ends_no_newer_one(device: DeviceHarness) -> None:
    """After deregister, register and deregister, only the last answer confirms."""
    device.serve()
    device.feed(ApplicationRemoved(KEY))
    first, _ = device.pending("application.deregister")
    device.feed(ApplicationStarted(MAIL, "default"))
    device.feed(ApplicationRemoved(KEY))
    answer_to(device, first, "application.deregistered.v1", ApplicationDeregisteredV1(sequence=2))
    assert device.stored.applications[KEY].due


def test_another_app_that_starts_repeats_no_registration(device: DeviceHarness) -> None:
    """Only a start of the same app during its registration repeats the registration."""
    device.feed(ApplicationStarted(CHAT, "default"))
    device.serve()
    asked = [each.body["application"] for each in device.requests("application.register")]
    assert sorted(asked) == sorted([MAIL, CHAT])
