"""What is pushed over other channels than the connection and SMS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.client import AoiClient, ChannelOffer, MemoryStorage
from aoi_events.client.core.events import ChallengeReceived, DuplicateDropped, PushIgnored
from aoi_events.client.core.inputs import NotificationHandled, PushArrived
from aoi_events.contracts.push import (
    MAX_PUSH,
    PushedChallenge,
    PushedNotification,
    PushedWakeUp,
)
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ConfigurationError
from aoi_events.testing.scripted_client import Script
from tests.support.device_frames import delivery_id
from tests.unit.client.device_harness import (
    EXPIRES_AT,
    MAIL,
    RegisteredDevice,
    notification,
)

BOTH = pytest.mark.parametrize("channel", ["webpush", "webhook"])


def content(device: RegisteredDevice, channel: str, number: int = 1) -> PushArrived:
    """A notification, as the AOI Server pushes it."""
    push = PushedNotification.model_validate(
        {
            "delivery": delivery_id(number),
            "attempt": 3,
            "fingerprint": fingerprint_of(device.token),
            "urgency": "high",
            "expires_at": EXPIRES_AT,
            "content": {"data": "hello"},
        }
    )
    return PushArrived(channel, push.encode())


@BOTH
def test_forwards_what_was_pushed(channel: str) -> None:
    """8.1.4: the app of the token gets it; the acknowledgement names channel and attempt."""
    device = RegisteredDevice()
    device.feed(content(device, channel))
    [forwarded] = [deliver.notification for deliver in device.delivered()]
    assert (forwarded.application, forwarded.content.data) == (MAIL, "hello")
    assert (forwarded.channel, forwarded.urgency) == (channel, "high")
    device.feed(NotificationHandled(delivery_id(1), "delivered"))
    assert device.acks() == [(delivery_id(1), "delivered", channel)]


@BOTH
def test_drops_what_came_over_another_channel_already(channel: str) -> None:
    """One delivery reaches its app once, whichever ways it comes."""
    device = RegisteredDevice()
    device.receive(notification(1, device.token))
    device.feed(content(device, channel))
    assert len(device.delivered()) == 1
    [dropped] = device.emitted(DuplicateDropped)
    assert dropped.channel == channel


@BOTH
def test_fetches_after_a_wake_up(channel: str) -> None:
    """The content behind it is fetched, and forwarded as of that channel."""
    device = RegisteredDevice()
    push = PushedWakeUp.model_validate(
        {
            "delivery": delivery_id(1),
            "attempt": 1,
            "fingerprint": fingerprint_of(device.token),
            "urgency": "normal",
            "expires_at": EXPIRES_AT,
        }
    )
    device.feed(PushArrived(channel, push.encode()))
    device.answer("notification.fetch", device.content(1))
    [forwarded] = [deliver.notification for deliver in device.delivered()]
    assert (forwarded.content.data, forwarded.channel) == ("large", channel)


def test_challenges_are_noted_for_their_channel() -> None:
    """8.1.2: the code confirms the channel that it came over, whichever the push names."""
    device = RegisteredDevice()
    push = PushedChallenge.model_validate(
        {"channel": "sms", "code": "K3Y9AB", "expires_at": EXPIRES_AT}
    )
    device.feed(PushArrived("webpush", push.encode()))
    assert [event.channel for event in device.emitted(ChallengeReceived)] == ["webpush"]
    assert device.stored.codes == {"webpush": "K3Y9AB"}


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_strange_pushes_are_ignored(octets: bytes) -> None:
    """Invalid pushes change nothing, and their octets do not show in the event."""
    device = RegisteredDevice()
    before = device.stored
    device.feed(PushArrived("webhook", octets))
    device.feed(PushArrived("webhook", b" " * (MAX_PUSH + 1)))
    assert device.stored == before
    assert len(device.emitted(PushIgnored)) == 2


def test_an_offer_needs_its_source() -> None:
    """A device that offers a channel and does not listen to it would never prove it."""
    offer = ChannelOffer(type="webhook", parameters={"url": "https://push.example.org/"})
    with pytest.raises(ConfigurationError, match="pushes="):
        AoiClient("ws://x/", storage=MemoryStorage(), device="d", identity="i", offers=[offer])
    AoiClient(
        "ws://x/",
        storage=MemoryStorage(),
        device="d",
        identity="i",
        offers=[offer],
        pushes={"webhook": Script[bytes]()},
    )
