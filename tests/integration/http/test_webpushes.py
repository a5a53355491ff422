"""Subscriptions of another push service, through every worker, and decrypted at the end."""

from __future__ import annotations

import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aoi_events import Publisher
from aoi_events.channels.webpush.size import LARGEST_PLAINTEXT
from aoi_events.channels.webpush.vapid import decoded
from aoi_events.contracts.events import DeliveryChanged
from aoi_events.contracts.push import (
    PushedChallenge,
    PushedNotification,
    PushedWakeUp,
    push_frames,
)
from aoi_events.contracts.states import CloseReason
from aoi_events.testing import AoiServer, WaitFor
from tests.integration.http.amqp_device import AmqpDevice
from tests.integration.http.conftest import BOTH, MakeDevice
from tests.support.receivers import Got, Receiver, Reply, Subscription

VAPID = re.compile(r"vapid t=([A-Za-z0-9_.-]+), k=([A-Za-z0-9_-]+)")


async def proved(device: AmqpDevice, receiver: Receiver, keys: Subscription) -> str:
    """Activate and confirm the subscription; return our public key."""
    number = len(receiver.got)
    offered = keys.parameters(receiver.url("/push/v1/device"))
    pending = await device.selected("webpush", offered)
    assert pending.state == "pending"
    assert pending.parameters.items() >= offered.items()
    frame = push_frames.validate_json(keys.read((await receiver.next(number)).body))
    assert isinstance(frame, PushedChallenge)
    assert (await device.confirm("webpush", frame.code)).state == "active"
    return str(pending.parameters["vapid_key"])


def claims_of(got: Got, public: str) -> dict[str, object]:
    """The claims of the VAPID token, verified with the public key (RFC 8292, section 4)."""
    match = VAPID.fullmatch(got.headers["Authorization"])
    assert match is not None
    assert match[2] == public
    point = decoded(public)
    assert point is not None
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    origin = f"http://{got.headers['Host']}"
    claims: dict[str, object] = jwt.decode(match[1], key, algorithms=["ES256"], audience=origin)
    return claims


@BOTH
async def test_a_notification_arrives_encrypted_and_signed(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """Only the device can read it (RFC 8291); the service sees who sends (RFC 8292), how long it
    matters and how much (RFC 8030), and its 201 counts as the provider's word.
    """
    keys, phone = Subscription(), await make_device()
    public = await proved(phone, receiver, keys)
    await shop.send(phone.token, "Gate B7", notification="n1", ttl=300, urgency="low")
    got = await receiver.next(1)
    assert got.path == "/push/v1/device"
    assert b"Gate" not in got.body
    frame = push_frames.validate_json(keys.read(got.body))
    assert isinstance(frame, PushedNotification)
    assert frame.content.data == "Gate B7"
    assert frame.application is None
    assert got.headers["Content-Encoding"] == "aes128gcm"
    assert 290 <= int(got.headers["TTL"]) <= 300
    assert got.headers["Urgency"] == "low"
    assert "Topic" not in got.headers
    claims = claims_of(got, public)
    assert claims["sub"] == "mailto:ops@example.org"
    expires = claims["exp"]
    assert isinstance(expires, int)
    assert time.time() < expires < time.time() + 24 * 3_600
    server.advance(6)
    settled = await wait_for("notification.delivered", notification="n1")
    assert isinstance(settled.data, DeliveryChanged)
    assert settled.data.by == "provider"


async def test_topics_stay_apart(
    server: AoiServer, receiver: Receiver, shop: Publisher, make_device: MakeDevice
) -> None:
    """One topic of one sender is one topic at the service, and it is nobody else's; its name says
    nothing of ours.
    """
    keys, phone = Subscription(), await make_device()
    await proved(phone, receiver, keys)
    bank = await server.publisher("bank")
    await shop.send(phone.token, "1 new", topic="mail")
    await receiver.next(1)
    await shop.send(phone.token, "2 new", topic="mail")
    await receiver.next(2)
    await shop.send(phone.token, "other", topic="news")
    await receiver.next(3)
    await bank.send(phone.token, "bank", topic="mail")
    await receiver.next(4)
    topics = [got.headers["Topic"] for got in receiver.got[1:]]
    assert topics[0] == topics[1]
    assert len(set(topics)) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", topic) for topic in topics)


async def test_what_is_too_large_is_fetched(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice
) -> None:
    """A push service takes 4,096 octets: content that does not fit becomes a wake-up."""
    keys, phone = Subscription(), await make_device()
    await proved(phone, receiver, keys)
    await shop.send(phone.token, "x" * 4_096, notification="n1")
    frame = push_frames.validate_json(keys.read((await receiver.next(1)).body))
    assert isinstance(frame, PushedWakeUp)
    fetched = await phone.fetch(frame.delivery)
    assert fetched.content.data == "x" * 4_096


async def test_the_largest_push_is_as_large_as_it_may_be(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice
) -> None:
    """Content up to the limit goes out whole, and nothing is ever larger than 4,096 octets."""
    keys, phone = Subscription(), await make_device()
    await proved(phone, receiver, keys)
    sizes = range(3_600, LARGEST_PLAINTEXT, 40)
    for number, size in enumerate(sizes):
        await shop.send(phone.token, "x" * size)
        got = await receiver.next(number + 1)
        assert len(got.body) <= 4_096
        assert len(keys.read(got.body)) <= LARGEST_PLAINTEXT
    assert max(len(got.body) for got in receiver.got) > 4_000


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_ended_closes_the_channel(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice, wait_for: WaitFor, status: int
) -> None:
    """The notification is stored until the device comes with another subscription."""
    keys, phone = Subscription(), await make_device()
    await proved(phone, receiver, keys)
    receiver.script(Reply(status))
    await shop.send(phone.token, "hello", notification="n1")
    await wait_for("channel.closed", client=phone.client)
    await wait_for("notification.stored", notification="n1")
    await proved(phone, receiver, keys := Subscription())
    got = await receiver.next(3)
    frame = push_frames.validate_json(keys.read(got.body))
    assert isinstance(frame, PushedNotification)
    assert frame.content.data == "hello"


async def test_a_push_that_is_too_large_is_not_tried_again(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice, wait_for: WaitFor
) -> None:
    """413 is final for one push (RFC 8030, section 7.2) and not for the subscription."""
    keys, phone = Subscription(), await make_device()
    await proved(phone, receiver, keys)
    receiver.script(Reply(413))
    await shop.send(phone.token, "odd", notification="n1")
    await wait_for("notification.stored", notification="n1")
    await shop.send(phone.token, "good", notification="n2")
    frame = push_frames.validate_json(keys.read((await receiver.next(2)).body))
    assert isinstance(frame, PushedNotification)
    assert frame.content.data == "good"


@pytest.mark.parametrize("name", ["p256dh", "auth", "endpoint"])
async def test_a_subscription_that_is_none_is_not_selected(
    make_device: MakeDevice, receiver: Receiver, name: str
) -> None:
    """The reason of a refused subscription says what to offer instead."""
    offered = {**Subscription().parameters(receiver.url()), name: "AAAA"}
    answer = await (await make_device()).offer("webpush", offered)
    assert answer.selected == ()
    [row] = answer.not_selected
    assert row.reason == CloseReason.OFFER_REFUSED
    assert "offer" in (row.detail or "")
