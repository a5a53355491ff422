"""What the documentation shows, with pika and none of our code between the test and the broker."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pika
import pika.exceptions
import pytest

from aoi_events.publishing import DeviceRequests
from tests.integration.publishing.conftest import Running
from tests.support.limits import WITHIN
from tests.support.publishing_device import Device

Answer = tuple[str, pika.BasicProperties, dict[str, Any]]


@pytest.fixture
async def token(on_rabbitmq: Running) -> AsyncIterator[str]:
    """An Application Client Token of a device that has nothing active."""
    async with DeviceRequests(on_rabbitmq.urls.fleet) as requests:
        device = Device(requests)
        await device.register()
        yield device.token


def send(token: str, notification: str = "order-4711") -> bytes:
    """The body of the documented request."""
    return json.dumps(
        {
            "version": 1,
            "notification": notification,
            "tokens": [token],
            "content": {"data": "Your parcel is here", "type": "text/plain"},
            "ttl": 3600,
            "urgency": "high",
        }
    ).encode()


def wait(connection: pika.BlockingConnection, found: list[Any]) -> Any:
    """What the connection's consumer finds, within the time limit."""
    deadline = time.monotonic() + WITHIN
    while not found:
        left = deadline - time.monotonic()
        assert left > 0, "nothing came in time"
        connection.process_data_events(time_limit=left)
    return found.pop(0)


def ask(url: str, body: bytes, *, routing_key: str = "notification.send", **more: Any) -> Answer:
    """Publish one request with every AMQP property; its answer by direct reply-to."""
    properties: dict[str, Any] = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        "delivery_mode": 2,
        "priority": 0,
        "correlation_id": "17",
        "reply_to": "amq.rabbitmq.reply-to",
        "expiration": "60000",
        "message_id": uuid.uuid4().hex,
        "timestamp": int(time.time()),
        "type": "notification.send.v1",
        "user_id": "shop",
        "app_id": "shop-backend",
        **more,
    }
    answers: list[Answer] = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_consume(
            properties["reply_to"],
            lambda _, deliver, received, answer: answers.append(
                (deliver.routing_key, received, json.loads(answer))
            ),
            auto_ack=True,
        )
        channel.basic_publish(
            "aoi.requests", routing_key, body, pika.BasicProperties(**properties), mandatory=True
        )
        answer: Answer = wait(connection, answers)
    assert answer[1].correlation_id == properties["correlation_id"]
    return answer


async def test_a_raw_request_is_answered(on_rabbitmq: Running, token: str) -> None:
    """Every AMQP property may be set; the answer comes to the channel that asked, as documented."""
    address, properties, body = await asyncio.to_thread(ask, on_rabbitmq.urls.shop, send(token))
    assert address.startswith("amq.rabbitmq.reply-to.")
    assert properties.type == "notification.accepted.v1"
    assert properties.content_type == "application/json"
    assert properties.message_id
    assert properties.reply_to is None
    assert properties.expiration is None
    (delivery,) = body.pop("deliveries")
    assert delivery["index"] == 0
    assert delivery["delivery"].startswith("dlv_")
    assert body.pop("expires_at").endswith("Z")
    assert body == {"version": 1, "notification": "order-4711", "rejected": []}
    assert properties.user_id == "guest", "the workers' user, by which a sender knows them"


async def test_a_raw_request_that_is_wrong_is_told_where(on_rabbitmq: Running, token: str) -> None:
    """An unknown field is answered with a stable code and the field's place."""
    wrong = send(token).replace(b'"ttl"', b'"time_to_live"')
    _, properties, body = await asyncio.to_thread(ask, on_rabbitmq.urls.shop, wrong)
    assert properties.type == "refused.v1"
    assert body["code"] == "invalid"
    assert body["field"] == "time_to_live"


async def test_a_reply_queue_of_ones_own(on_rabbitmq: Running, token: str) -> None:
    """Answers go to a durable queue ``aoi.reply.<user>.…`` as well, and to no other's."""
    queue = "aoi.reply.shop.answers"

    def declare() -> None:
        with pika.BlockingConnection(pika.URLParameters(on_rabbitmq.urls.shop)) as connection:
            connection.channel().queue_declare(
                queue, durable=True, arguments={"x-queue-type": "quorum"}
            )

    await asyncio.to_thread(declare)
    address, properties, body = await asyncio.to_thread(
        ask, on_rabbitmq.urls.shop, send(token), reply_to=queue
    )
    assert address == queue
    assert properties.type == "notification.accepted.v1"
    assert body["notification"] == "order-4711"


async def test_events_with_any_client(on_rabbitmq: Running, token: str) -> None:
    """A queue of one's own, bound to one's own events, gets CloudEvents without any token."""
    events: list[tuple[str, pika.BasicProperties, bytes]] = []

    def listen() -> tuple[str, pika.BasicProperties, bytes]:
        with pika.BlockingConnection(pika.URLParameters(on_rabbitmq.urls.shop)) as connection:
            channel = connection.channel()
            channel.queue_declare("aoi.reply.shop.events", exclusive=True)
            channel.queue_bind("aoi.reply.shop.events", "aoi.events", "notification.stored.shop")
            channel.basic_consume(
                "aoi.reply.shop.events",
                lambda _, deliver, properties, body: events.append(
                    (deliver.routing_key, properties, body)
                ),
                auto_ack=True,
            )
            ask(on_rabbitmq.urls.shop, send(token))
            found: tuple[str, pika.BasicProperties, bytes] = wait(connection, events)
            return found

    routing_key, properties, body = await asyncio.to_thread(listen)
    event = json.loads(body)
    assert routing_key == "notification.stored.shop"
    assert properties.content_type == "application/cloudevents+json"
    assert event["specversion"] == "1.0"
    assert event["type"] == properties.type == "aoi.notification.stored.v1"
    assert event["data"]["notification"] == "order-4711"
    assert token.encode() not in body


@pytest.mark.parametrize("pattern", ["#", "notification.#", "notification.*.other", "*.*.*"])
async def test_events_of_others_cannot_be_bound(on_rabbitmq: Running, pattern: str) -> None:
    """With the permissions that the documentation gives, a sender hears of its own only."""

    def listen() -> None:
        with pika.BlockingConnection(pika.URLParameters(on_rabbitmq.urls.shop)) as connection:
            channel = connection.channel()
            channel.queue_declare("aoi.reply.shop.events", exclusive=True)
            channel.queue_bind("aoi.reply.shop.events", "aoi.events", pattern)

    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        await asyncio.to_thread(listen)


async def test_a_sender_cannot_speak_for_devices(on_rabbitmq: Running, token: str) -> None:
    """With those permissions the broker refuses a sender what only devices may ask."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        await asyncio.to_thread(
            ask, on_rabbitmq.urls.shop, send(token), routing_key="client.register"
        )
