from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import cast

import aiormq
import pytest
from aiormq.abc import ChannelFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.broker.rabbitmq.lenient_decoders import HEADERS_LIMIT, UNREADABLE
from aoi_events.ports.broker import Inbound, Outbound, Published, Subscription
from aoi_events.topology import Binding, Exchange, Queue, Topology

QUEUE = Queue("open", delivery_limit=50, bindings=(Binding("open"),))

# Flags of the properties that follow the class, weight and size of a content header.
HEADERS, CORRELATION, REPLY_TO = 0x2000, 0x0400, 0x0200
CONTENT_TYPE, ENCODING, MESSAGE_ID, TIMESTAMP, TYPE, APP_ID = (
    0x8000,
    0x4000,
    0x0080,
    0x0040,
    0x0020,
    0x0008,
)


def short(octets: bytes) -> bytes:
    """A short string, whatever its octets."""
    return bytes([len(octets)]) + octets


def table(octets: bytes) -> bytes:
    """A header table with this content."""
    return struct.pack(">I", len(octets)) + octets


def nested(depth: int) -> bytes:
    """Tables in tables."""
    inner = table(b"")
    for _ in range(depth):
        inner = table(short(b"a") + b"F" + inner)
    return inner


MANY_HEADERS = table(b"".join(short(b"%04x" % number) + b"V" for number in range(15_000)))


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """An AMQP frame."""
    return struct.pack(">BHI", kind, number, len(payload)) + payload + b"\xce"


class Hostile:
    """A sender that writes frames octet by octet."""

    def __init__(self, channel: aiormq.Channel) -> None:
        self.channel = channel

    async def send(
        self, flags: int = 0, properties: bytes = b"", *, key: bytes = b"key", body: bytes = b"bad"
    ) -> None:
        """Publish to the open exchange."""
        number = self.channel.number
        method = struct.pack(">HHH", 60, 40, 0) + short(b"open") + short(key) + b"\0"
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
        payload = frame(1, number, method) + frame(2, number, header)
        if body:
            payload += frame(3, number, body)
        await self.channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))


@pytest.fixture
async def hostile(rabbit_url: str, broker: RabbitBroker) -> AsyncIterator[Hostile]:
    """A hostile sender beside our broker connection."""
    connection = await aiormq.connect(rabbit_url)
    channel = await connection.channel(publisher_confirms=False)
    yield Hostile(cast(aiormq.Channel, channel))
    await connection.close()


@pytest.fixture
async def broker(rabbit_url: str) -> AsyncIterator[RabbitBroker]:
    """Our connection, with a queue that takes everything of an exchange."""
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((Exchange("open"),), (QUEUE,)))
    yield broker
    await broker.close()


@pytest.fixture
async def subscription(broker: RabbitBroker) -> Subscription:
    """The consumer whose connection must live on."""
    return await broker.subscribe(QUEUE, prefetch=10)


async def take_bad_and_good(broker: RabbitBroker, subscription: Subscription) -> Inbound:
    """The hostile message arrives, once, and after it a good one on the same connection."""
    (bad,) = await subscription.take(1)
    # Whatever it claims can go into an answer without harm.
    reply = Outbound(
        "", bad.reply_to or "nowhere", b"refused", False, correlation_id=bad.correlation_id
    )
    good = Outbound("open", "good", b"good")
    assert list(await broker.publish([reply, good])) == [Published.CONFIRMED] * 2
    (after,) = await subscription.take(1)
    assert (after.body, bad.redelivered, after.redelivered) == (b"good", False, False)
    await subscription.ack([bad, after])
    return bad


@pytest.mark.parametrize(
    "flags, properties",
    [
        pytest.param(CORRELATION, short(b"\xff\xfe"), id="correlation ID is not UTF-8"),
        pytest.param(CORRELATION, short(b"\xff" * 255), id="as long as it can be"),
        pytest.param(REPLY_TO, short(b"amq.\xc3\x28"), id="reply-to is not UTF-8"),
        pytest.param(MESSAGE_ID, short(b"\x80"), id="message ID is not UTF-8"),
        pytest.param(CONTENT_TYPE, short(b"\xed\xa0\x80"), id="content type is a surrogate"),
        pytest.param(ENCODING, short(b"\xf8"), id="encoding is not UTF-8"),
        pytest.param(TYPE, short(b"\xff"), id="type is not UTF-8"),
        pytest.param(APP_ID, short(b"\xff"), id="application ID is not UTF-8"),
        pytest.param(TIMESTAMP, b"\x7f" + b"\xff" * 7, id="a date that no calendar has"),
        pytest.param(TIMESTAMP, b"\xff" * 8, id="the last date of all"),
        pytest.param(HEADERS, table(short(b"\xff") + b"t\1"), id="a header's name is not UTF-8"),
        pytest.param(HEADERS, table(short(b"a") + b"T" + b"\xff" * 8), id="a date in a header"),
        pytest.param(HEADERS, nested(3000), id="headers nested 3000 deep"),
        pytest.param(HEADERS, MANY_HEADERS, id="15,000 headers"),
        pytest.param(HEADERS, table(short(b"a") + b"D" + b"\xff" * 5), id="an endless decimal"),
    ],
)
async def test_hostile_properties_do_not_break_the_connection(
    hostile: Hostile,
    broker: RabbitBroker,
    subscription: Subscription,
    flags: int,
    properties: bytes,
) -> None:
    """The message is taken like any other, and the consumer lives on."""
    await hostile.send(flags, properties)
    bad = await take_bad_and_good(broker, subscription)
    assert bad.body == b"bad"


async def test_undecodable_octets_are_question_marks(
    hostile: Hostile, broker: RabbitBroker, subscription: Subscription
) -> None:
    """What cannot be read is visibly so and never longer than what was sent."""
    await hostile.send(CORRELATION, short(b"a\xff\xfeb\xc3\xa9"), key=b"client.\xff")
    bad = await take_bad_and_good(broker, subscription)
    assert (bad.correlation_id, bad.routing_key) == ("a??bé", "client.?")


async def test_unreadable_headers_are_marked(
    hostile: Hostile, broker: RabbitBroker, subscription: Subscription
) -> None:
    """Headers that are too large to look at are replaced by one that says so."""
    assert len(MANY_HEADERS) > HEADERS_LIMIT
    await hostile.send(HEADERS, MANY_HEADERS)
    bad = await take_bad_and_good(broker, subscription)
    assert dict(bad.headers) == {UNREADABLE: True}


async def test_a_sender_cannot_fake_the_delivery_count(
    hostile: Hostile, broker: RabbitBroker, subscription: Subscription, rabbit_url: str
) -> None:
    """A count that the sender wrote is ignored; the broker's own is believed."""
    await hostile.send(HEADERS, table(short(b"x-delivery-count") + b"l" + struct.pack(">q", 9)))
    (bad,) = await subscription.take(1)
    assert bad.delivery_count == 0
    await broker.close()
    again = await RabbitBroker.connect(rabbit_url)
    (bad,) = await (await again.subscribe(QUEUE, prefetch=1)).take(1)
    assert bad.delivery_count == 1
    await again.close()


@given(octets=st.binary(max_size=60))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_octets_as_names_and_body(
    hostile: Hostile, broker: RabbitBroker, subscription: Subscription, octets: bytes
) -> None:
    """Random octets as routing key, properties and body arrive, and nothing else happens."""
    await hostile.send(
        CORRELATION | REPLY_TO | TYPE, short(octets) * 3, key=octets, body=octets * 10
    )
    bad = await take_bad_and_good(broker, subscription)
    assert bad.body == octets * 10


@pytest.mark.parametrize(
    "message",
    [
        Outbound("open", "k" * 256, b""),
        Outbound("open", "key", b"", headers={"a": "x" * HEADERS_LIMIT}),
        Outbound("open", "key", b"", correlation_id="x" * 256),
        Outbound("open", "key", b"", reply_to="x" * 256),
    ],
    ids=["routing key", "headers", "correlation ID", "reply-to"],
)
async def test_we_send_nothing_that_would_close_our_own_connection(
    broker: RabbitBroker, subscription: Subscription, message: Outbound
) -> None:
    """What AMQP cannot carry raises before anything of it is written; the rest goes on."""
    with pytest.raises(ValueError, match=r"255|32768"):
        await broker.publish([message])
    assert list(await broker.publish([Outbound("open", "key", b"on")])) == [Published.CONFIRMED]
    (taken,) = await subscription.take(1)
    assert taken.body == b"on"
