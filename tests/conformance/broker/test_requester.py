from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aoi_events.errors import BrokerUnavailable, PublishRefused, RequestTimeout
from aoi_events.ports.broker import Broker, Inbound, Outbound, Subscription
from tests.conformance.broker.conftest import BOB, Installation
from tests.conformance.broker.messages import WORK, declare, take, to
from tests.support.limits import WITHIN


def answer(request: Inbound, body: bytes) -> Outbound:
    """What a worker sends back."""
    assert request.reply_to is not None
    return Outbound(
        "",
        request.reply_to,
        body,
        mandatory=False,
        persistent=False,
        correlation_id=request.correlation_id,
    )


@asynccontextmanager
async def echoing(broker: Broker) -> AsyncIterator[Subscription]:
    """A worker that answers with the body of the request."""
    subscription = await broker.subscribe(WORK, prefetch=100)

    async def work() -> None:
        while requests := await subscription.take(100):
            await broker.publish([answer(request, request.body) for request in requests])
            await subscription.ack(requests)

    working = asyncio.create_task(work())
    try:
        yield subscription
    finally:
        await subscription.stop()
        await working


async def test_a_request_gets_its_answer(installation: Installation) -> None:
    """The answer comes to whoever asked, from another user, over an address of direct reply-to."""
    asking, working = await installation.connect(), await installation.connect(BOB)
    await declare(working, WORK)
    async with echoing(working):
        requester = await asking.requester()
        got = await requester.call(to("work", "hello"), timeout=WITHIN)
    assert got.body == b"hello"
    assert got.user_id == BOB
    assert got.routing_key.startswith("amq.rabbitmq.reply-to.")


async def test_many_calls_at_once_get_their_own_answers(installation: Installation) -> None:
    """Answers are matched to requests, whatever the number in flight and the requester."""
    asking, working = await installation.connect(), await installation.connect(BOB)
    await declare(working, WORK)
    async with echoing(working):
        requesters = [await asking.requester() for _ in range(3)]
        answers = await asyncio.gather(
            *(
                requesters[number % 3].call(to("work", f"{number}"), timeout=WITHIN)
                for number in range(150)
            )
        )
    assert [got.body.decode() for got in answers] == [f"{number}" for number in range(150)]


async def test_no_answer_in_time(broker: Broker) -> None:
    """A call ends at its timeout, a late answer troubles nobody, and the next call works."""
    await declare(broker, WORK)
    worker = await broker.subscribe(WORK, prefetch=10)
    requester = await broker.requester()
    with pytest.raises(RequestTimeout, match="work"):
        await requester.call(to("work", "slow"), timeout=0.05)
    (late,) = await take(worker, 1)
    await broker.publish([answer(late, b"late")])
    calling = asyncio.create_task(requester.call(to("work", "again"), timeout=WITHIN))
    (request,) = await take(worker, 1)
    await broker.publish([answer(late, b"later"), answer(request, b"now")])
    assert (await calling).body == b"now"


async def test_a_cancelled_call_troubles_nobody(broker: Broker) -> None:
    """Calls cancelled at any moment leave the requester as it was."""
    await declare(broker, WORK)
    async with echoing(broker):
        requester = await broker.requester()
        for turns in range(6):
            calling = asyncio.create_task(requester.call(to("work", "x"), timeout=WITHIN))
            for _ in range(turns):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            got = await requester.call(to("work", f"{turns}"), timeout=WITHIN)
            assert got.body == f"{turns}".encode()


async def test_a_request_that_no_queue_takes(broker: Broker) -> None:
    """It is refused at once, long before its timeout."""
    requester = await broker.requester()
    with pytest.raises(PublishRefused, match="nowhere"):
        await requester.call(to("nowhere"), timeout=WITHIN)


async def test_closing_ends_calls_under_way(broker: Broker) -> None:
    """A closed requester answers nobody, and says so."""
    await declare(broker, WORK)
    worker = await broker.subscribe(WORK, prefetch=10)
    requester = await broker.requester()
    calling = asyncio.create_task(requester.call(to("work"), timeout=WITHIN))
    await take(worker, 1)
    await requester.close()
    await requester.close()
    with pytest.raises(BrokerUnavailable):
        await calling
    with pytest.raises(BrokerUnavailable):
        await requester.call(to("work"), timeout=WITHIN)


async def test_an_answer_to_nobody_is_no_error(broker: Broker) -> None:
    """An answer to a requester that is gone is confirmed and forgotten."""
    await declare(broker, WORK)
    worker = await broker.subscribe(WORK, prefetch=10)
    requester = await broker.requester()
    with pytest.raises(RequestTimeout):
        await requester.call(to("work"), timeout=0.05)
    (request,) = await take(worker, 1)
    await requester.close()
    (result,) = await broker.publish([answer(request, b"")])
    assert result.value == "confirmed"
