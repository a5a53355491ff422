from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.requests import AnyRequest, SendNotificationV1
from aoi_events.errors import (
    BrokerUnavailable,
    PublishRefused,
    RequestRefused,
    RequestTimeout,
)
from aoi_events.publishing import Publisher, send_request
from aoi_events.topology import topology
from tests.unit.publishing.responder import Responder, delivery_id

TOKEN = "token-of-an-app"
SOON = 0.05


def silent(_request: AnyRequest) -> None:
    """Take the request and never answer it."""


def refuse(code: str) -> RefusedV1:
    """A refusal."""
    return RefusedV1(code=code, message="because")


async def test_send_returns_what_was_accepted_and_what_was_not(
    publisher: Publisher, responder: Responder
) -> None:
    """The answer names each accepted delivery and each rejected token by its place."""
    accepted = await publisher.send(
        [TOKEN, "forged-token"], "hello", notification="n1", ttl=60, urgency="high"
    )
    assert accepted.notification == "n1"
    assert [(each.index, each.delivery) for each in accepted.deliveries] == [
        (0, delivery_id("n1", 0))
    ]
    assert [(each.index, each.code) for each in accepted.rejected] == [(1, "token_forged")]


async def test_a_request_carries_what_the_server_needs(
    publisher: Publisher, responder: Responder
) -> None:
    """The request goes out as its contract under its routing key, as the broker's user."""
    await publisher.send(TOKEN, "hello", notification="n1", topic="score")
    request, message = responder.asked[0]
    assert isinstance(request, SendNotificationV1)
    assert request.topic == "score"
    assert message.routing_key == "notification.send"
    assert message.user_id == publisher.sender == "shop"
    assert message.content_type == "application/json"
    assert message.reply_to is not None


async def test_an_id_is_made_where_the_sender_gives_none(publisher: Publisher) -> None:
    """Two notifications without an ID get different ones, and the answer says them."""
    one, two = await publisher.send(TOKEN, "a"), await publisher.send(TOKEN, "a")
    assert one.notification != two.notification


async def test_cancel_and_status(publisher: Publisher) -> None:
    """A notification can be looked at and withdrawn under the ID of its answer."""
    accepted = await publisher.send(TOKEN, "hello")
    status = await publisher.status(accepted.notification)
    assert [each.delivery for each in status.deliveries] == [accepted.deliveries[0].delivery]
    assert (await publisher.cancel(accepted.notification)).cancelled == 1


@pytest.mark.parametrize("call", ["status", "cancel"])
async def test_an_impossible_id_is_refused_before_it_is_sent(
    publisher: Publisher, responder: Responder, call: str
) -> None:
    """What cannot be a notification's ID costs no message."""
    with pytest.raises(RequestRefused) as refused:
        await getattr(publisher, call)("no spaces")
    assert refused.value.code == "invalid"
    assert responder.asked == []


async def test_a_refusal_has_its_code(publisher: Publisher, responder: Responder) -> None:
    """The server's refusal is raised with its stable code."""
    responder.script.append(lambda _: refuse("quota_exceeded"))
    with pytest.raises(RequestRefused) as refused:
        await publisher.send(TOKEN, "hello")
    assert refused.value.code == "quota_exceeded"


async def test_no_answer_is_a_timeout(publisher: Publisher, responder: Responder) -> None:
    """A server that does not answer costs the caller its timeout and no more."""
    responder.script.append(silent)
    with pytest.raises(RequestTimeout, match=r"notification\.send"):
        await publisher.send(TOKEN, "hello", timeout=SOON)


async def test_a_retry_repeats_the_very_same_request(
    publisher: Publisher, responder: Responder
) -> None:
    """Repeats after a timeout have the same notification ID and body, so they take effect once."""
    responder.script.append(silent)
    accepted = await publisher.send(TOKEN, "hello", timeout=SOON, retries=1)
    first, second = (message.body for _, message in responder.asked)
    assert first == second
    assert accepted.notification.encode() in first


async def test_retries_end_and_refusals_are_not_retried(
    publisher: Publisher, responder: Responder
) -> None:
    """The last failure is raised, and an answer, even a refusal, is never asked for again."""
    responder.script.extend([silent, silent])
    with pytest.raises(RequestTimeout):
        await publisher.send(TOKEN, "hello", timeout=SOON, retries=1)
    responder.script.append(lambda _: refuse("conflict"))
    with pytest.raises(RequestRefused):
        await publisher.send(TOKEN, "hello", retries=3)
    assert len(responder.asked) == 3


async def test_nobody_there_is_told_apart_from_no_answer(server: MemoryServer) -> None:
    """Where no queue takes requests, the publish is refused at once."""
    broker = MemoryBroker(server, user="shop")
    await broker.declare(type(topology())(exchanges=topology().exchanges, queues=()))
    async with Publisher(broker) as publisher:
        with pytest.raises(PublishRefused):
            await publisher.send(TOKEN, "hello")


async def test_a_lost_connection_fails_what_is_under_way_and_serves_what_follows(
    publisher: Publisher, responder: Responder, server: MemoryServer
) -> None:
    """A request whose answer cannot come any more fails at once; the next one works."""
    responder.script.append(silent)
    under_way = asyncio.create_task(publisher.send(TOKEN, "hello", notification="n1"))
    await responder.until_asked(SendNotificationV1)
    server.drop_connection("shop")
    with pytest.raises(BrokerUnavailable):
        await under_way
    assert (await publisher.send(TOKEN, "hello", notification="n1")).notification == "n1"


async def test_send_many_keeps_order_and_gives_errors_as_values(
    publisher: Publisher, responder: Responder
) -> None:
    """Each request's result comes in its place, and one refusal stops no other."""
    requests = [send_request(TOKEN, "hello", notification=f"n{n}") for n in range(50)]
    responder.script.extend([responder.answer] * 7)
    responder.script.append(lambda _: refuse("conflict"))
    sent = [each async for each in publisher.send_many(requests, window=10)]
    assert [each.request for each in sent] == requests
    wrong = [each for each in sent if each.error is not None]
    assert len(wrong) == 1
    with pytest.raises(RequestRefused, match="conflict"):
        wrong[0].accepted()
    assert all(
        each.accepted().notification == each.request.notification
        for each in sent
        if each not in wrong
    )


async def test_send_many_takes_an_endless_source_only_as_it_is_read(
    publisher: Publisher, responder: Responder
) -> None:
    """A source without end is read no further than the window, and reading can stop."""
    taken = 0

    def endless() -> Iterator[SendNotificationV1]:
        nonlocal taken
        while True:
            taken += 1
            yield send_request(TOKEN, "hello")

    sending = publisher.send_many(endless(), window=5)
    for _ in range(3):
        assert (await anext(sending)).error is None
    await sending.aclose()
    assert taken <= 3 + 5
    assert len(responder.asked) <= 3 + 5


async def test_send_many_reads_asynchronous_sources(publisher: Publisher) -> None:
    """Requests may come from an asynchronous iterator."""

    async def source() -> AsyncIterator[SendNotificationV1]:
        yield send_request(TOKEN, "hello", notification="a")
        yield send_request(TOKEN, "hello", notification="b")

    sent = [each.accepted().notification async for each in publisher.send_many(source())]
    assert sent == ["a", "b"]


@pytest.mark.parametrize("arguments", [{"window": 0}, {"window": 1_001}, {"retries": 11}])
async def test_send_many_is_bounded(publisher: Publisher, arguments: dict[str, int]) -> None:
    """A window or a number of retries out of bounds is an error."""
    with pytest.raises(ValueError, match="from"):
        await anext(publisher.send_many([], **arguments))


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_every_wait_has_an_end(publisher: Publisher, timeout: float) -> None:
    """A timeout is above zero and finite, everywhere."""
    with pytest.raises(ValueError, match="timeout"):
        await publisher.send(TOKEN, "hello", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        await publisher.wait("n1", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        Publisher("memory://", timeout=timeout)


async def test_a_broker_that_was_given_stays_open(responder: Responder) -> None:
    """Closing a Publisher leaves the broker open that its caller opened."""
    broker = MemoryBroker(responder.server, user="shop")
    async with Publisher(broker) as publisher:
        await publisher.send(TOKEN, "hello")
    assert await broker.healthy()
    await broker.close()


async def test_use_outside_its_lifetime_says_what_to_do(broker: MemoryBroker) -> None:
    """A Publisher that is not open, or was closed, says so instead of hanging."""
    publisher = Publisher(broker)
    with pytest.raises(RuntimeError, match="async with"):
        await publisher.send(TOKEN, "hello")
    await publisher.open()
    await publisher.open()
    await publisher.close()
    await publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        await publisher.send(TOKEN, "hello")
    with pytest.raises(RuntimeError, match="closed"):
        await publisher.open()
    with pytest.raises(RuntimeError, match="closed"):
        await publisher.wait("n1")


async def test_connect_gives_an_open_publisher(responder: Responder, broker: MemoryBroker) -> None:
    """Whoever does not want a block opens with connect and closes by hand."""
    publisher = await Publisher.connect(broker)
    await publisher.send(TOKEN, "hello")
    await publisher.close()
