"""Pushes of several short messages at the device, and invalid short messages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aoi_events.client.core.events import (
    DuplicateDropped,
    PartsDropped,
    ShortMessageIgnored,
)
from aoi_events.client.core.inputs import (
    ApplicationStarted,
    NotificationHandled,
    ShortMessageArrived,
)
from aoi_events.contracts.content import Content
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.oma_push.datagrams import Reference
from aoi_events.oma_push.payload import ContentPush, encode
from aoi_events.oma_push.reassembly import MAX_AGE
from tests.support.device_frames import delivery_id
from tests.support.instant import INSTANT as NOW
from tests.unit.client.device_harness import MAIL, RegisteredDevice, arrived

LONG = "long " * 60


@pytest.fixture
def device() -> RegisteredDevice:
    """A registered device with one app, whose connection is cut."""
    device = RegisteredDevice()
    device.lose_connection()
    return device


def parts(
    device: RegisteredDevice, text: str = LONG, *, reference: int = 1
) -> list[ShortMessageArrived]:
    """A notification by SMS that takes several messages."""
    push = ContentPush(delivery_id(1), fingerprint_of(device.token), Content(data=text))
    messages = encode(push, transaction_id=1, most=4, reference=Reference(16, reference))
    return [arrived(user_data) for user_data in messages]


def test_parts_are_put_together_through_a_restart(device: RegisteredDevice) -> None:
    """In any order, with repeats, and with a restart between them: the app gets it once, and what
    was kept of it is gone.
    """
    one, two, three = parts(device)
    for message in (three, one, three):
        device.feed(message)
    device.restart()
    device.feed(ApplicationStarted(MAIL, "default"))
    assert device.delivered() == []
    assert len(device.stored.parts) == 2
    device.feed(two)
    [forwarded] = [deliver.notification for deliver in device.delivered()]
    assert (forwarded.content.data, forwarded.channel) == (LONG, "sms")
    assert not device.stored.parts


def test_a_second_attempt_is_a_duplicate(device: RegisteredDevice) -> None:
    """The server sent all parts again, under another reference: the app has it already."""
    for message in parts(device):
        device.feed(message)
    device.feed(NotificationHandled(delivery_id(1), "delivered"))
    for message in parts(device, reference=2):
        device.feed(message)
    assert len(device.delivered()) == 1
    assert device.emitted(DuplicateDropped) == [DuplicateDropped(delivery_id(1), "sms")]


def test_mixed_parts_are_not_shown(device: RegisteredDevice) -> None:
    """Parts of two pushes, crossed under one reference, are ignored, and do not disturb what comes
    after them.
    """
    a, b = parts(device, "a" * 200), parts(device, "b" * 200)
    for message in (a[0], b[0], b[1], a[1]):
        device.feed(message)
    assert device.delivered() == []
    assert len(device.emitted(ShortMessageIgnored)) == 2
    for message in parts(device, reference=2):
        device.feed(message)
    assert device.delivered()[0].notification.content.data == LONG


def test_parts_whose_rest_never_comes_are_given_up_and_told(device: RegisteredDevice) -> None:
    """After a day the part makes room, when the next one comes."""
    one, two, *_ = parts(device)
    device.feed(one)
    device.feed(ShortMessageArrived(two.message, NOW + MAX_AGE + timedelta(seconds=1)))
    assert device.emitted(PartsDropped) == [PartsDropped(1)]
    assert [part.number for part in device.stored.parts] == [2]


def test_endless_parts_of_strangers_are_bounded(device: RegisteredDevice) -> None:
    """A thousand messages that never become complete, from names of any length, leave a state that
    is small, that survives a restart, and in which a push still comes through.
    """
    header = "0C 05040B8423F0 0804 {:04X} 10 01"
    for number in range(1_000):
        octets = bytes.fromhex(header.format(number)) + b"\xff" * 127
        device.feed(arrived(octets, sender="x" * 500 + str(number % 3)))
    assert len(device.disk) < 60_000
    device.restart()
    device.feed(ApplicationStarted(MAIL, "default"))
    for message in parts(device):
        device.feed(message)
    assert device.delivered()[0].notification.content.data == LONG


def test_strange_short_messages_are_ignored(device: RegisteredDevice) -> None:
    """Invalid short messages change nothing."""
    before = device.stored
    strange = (
        b"",
        b"\xff" * 500,
        bytes.fromhex("0605040B8423F025068FFFFFFF7F"),  # headers of 2**32-1 octets
        bytes.fromhex("0B 000301FF01 05040B8423F0 07"),  # one of 255 parts
        bytes.fromhex("0B 0003010203 05040B8423F0 07"),  # part 3 of 2
    )
    for octets in strange:
        device.feed(arrived(octets))
    assert device.stored == before
    assert len(device.emitted(ShortMessageIgnored)) == len(strange)
