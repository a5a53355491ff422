from __future__ import annotations

import asyncio

import pytest

from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Outbound, Published
from aoi_events.topology import Binding, Exchange, Queue, QueueKind
from tests.conformance.broker.conftest import ALICE, BOB, Installation
from tests.conformance.broker.messages import WORK, bodies, declare, send, take, to
from tests.support.limits import WITHIN

GATEWAY = Queue("aoi.gateway.one", QueueKind.EXCLUSIVE)


async def test_a_subscription_goes_on_after_a_lost_connection(installation: Installation) -> None:
    """Unsettled messages come again, counted; acks from before are ignored; nothing is lost."""
    broker = await installation.connect()
    await declare(broker, WORK)
    await send(broker, "work", *"abcd")
    # Nothing waits in the client: it could be taken until the client notices the loss.
    subscription = await broker.subscribe(WORK, prefetch=2)
    taken = await take(subscription, 2)
    await installation.drop_connections()
    await subscription.ack(taken)
    again = await take(subscription, 2)
    await subscription.ack(taken)
    await subscription.ack(again)
    again += await take(subscription, 2)
    assert sorted(message.body for message in again) == [b"a", b"b", b"c", b"d"]
    assert {message.delivery_count for message in again} <= {0, 1}
    assert {message.delivery_count for message in again if message.body in b"ab"} == {1}
    await send(broker, "work", "e")
    await subscription.ack(again)
    assert await bodies(subscription, 1) == ["e"]


async def test_an_ack_from_before_a_lost_connection_settles_nothing(
    installation: Installation,
) -> None:
    """The broker counts deliveries anew, so an ack that comes late names others by number: these
    are not settled by it, and come again when the connection is lost once more.
    """
    broker = await installation.connect()
    await declare(broker, WORK)
    await send(broker, "work", "a", "b")
    subscription = await broker.subscribe(WORK, prefetch=2)
    before = await take(subscription, 2)
    await installation.drop_connections()
    await take(subscription, 2)
    await subscription.ack(before)
    await installation.drop_connections()
    assert sorted(await bodies(subscription, 2)) == ["a", "b"]


async def test_a_paused_subscription_stays_paused(installation: Installation) -> None:
    """A new connection does not resume what was paused; resuming does."""
    broker, other = await installation.connect(), await installation.connect(BOB)
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    await subscription.pause()
    await installation.drop_connections()
    await send(broker, "work", "a")
    helper = await retry(
        lambda: other.subscribe(WORK, prefetch=1), policy=RetryPolicy(), on=BrokerUnavailable
    )
    assert await bodies(helper, 1) == ["a"]
    await helper.stop()
    await subscription.resume()
    await send(broker, "work", "b")
    assert await bodies(subscription, 1) == ["b"]


async def test_a_connection_lost_while_paused_gives_all_back(installation: Installation) -> None:
    """What a paused subscription kept goes to others; what comes after resuming is all new."""
    broker, other = await installation.connect(), await installation.connect(BOB)
    await declare(broker, WORK)
    await send(broker, "work", *"abc")
    subscription = await broker.subscribe(WORK, prefetch=10)
    taken = await take(subscription, 1)
    await subscription.pause()
    await installation.drop_connections()
    helper = await retry(
        lambda: other.subscribe(WORK, prefetch=10), policy=RetryPolicy(), on=BrokerUnavailable
    )
    assert sorted(await bodies(helper, 3)) == ["a", "b", "c"]
    await helper.stop()
    await subscription.resume()
    await subscription.ack(taken)
    await send(broker, "work", "d")
    assert await bodies(subscription, 1) == ["d"]


async def test_an_exclusive_queue_dies_with_its_connection(installation: Installation) -> None:
    """Whoever takes from it learns so, publishers get their messages back, a new one can come."""
    gateway, other = await installation.connect(), await installation.connect(BOB)
    subscription = await gateway.subscribe(GATEWAY, prefetch=10)
    await send(other, GATEWAY.name, "before")
    (taken,) = await take(subscription, 1)
    assert (taken.delivery_count, taken.redelivered) == (0, False)
    await installation.drop_connections()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable, match=GATEWAY.name):
            await subscription.take(1)
    await subscription.ack([taken])
    (result,) = await retry(
        lambda: other.publish([to(GATEWAY.name)]), policy=RetryPolicy(), on=BrokerUnavailable
    )
    assert result is Published.RETURNED
    again = Queue("aoi.gateway.two", QueueKind.EXCLUSIVE)
    subscription = await retry(
        lambda: gateway.subscribe(again, prefetch=10), policy=RetryPolicy(), on=BrokerUnavailable
    )
    await send(other, again.name, "after")
    assert await bodies(subscription, 1) == ["after"]


async def test_an_exclusive_queue_that_is_deleted_is_reported(installation: Installation) -> None:
    """Somebody deletes it, and its connection stays: it is not declared again under its name, so
    that its user learns of the loss; a new one can come on the same connection.
    """
    gateway, other = await installation.connect(), await installation.connect(BOB)
    subscription = await gateway.subscribe(GATEWAY, prefetch=10)
    await send(other, GATEWAY.name, "before")
    await take(subscription, 1)
    await installation.delete(GATEWAY.name)
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable, match=GATEWAY.name):
            await subscription.take(1)
    assert list(await other.publish([to(GATEWAY.name)])) == [Published.RETURNED]
    again = Queue("aoi.gateway.two", QueueKind.EXCLUSIVE)
    subscription = await gateway.subscribe(again, prefetch=10)
    await send(other, again.name, "after")
    assert await bodies(subscription, 1) == ["after"]


async def test_a_connection_that_is_replaced_is_lost_and_comes_back(
    installation: Installation,
) -> None:
    """Exclusive queues go with the old one, unsettled messages come again over the new one."""
    broker, other = await installation.connect(), await installation.connect(BOB)
    await declare(broker, WORK)
    await send(other, "work", "a")
    own = await broker.subscribe(GATEWAY, prefetch=10)
    work = await broker.subscribe(WORK, prefetch=10)
    await take(work, 1)
    await broker.reconnect()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable, match=GATEWAY.name):
            await own.take(1)
    assert [message.body for message in await take(work, 1)] == [b"a"]
    (result,) = await retry(
        lambda: broker.publish([to("work")]), policy=RetryPolicy(), on=BrokerUnavailable
    )
    assert result is Published.CONFIRMED
    # RabbitMQ deletes it a moment after the connection is gone.
    async with asyncio.timeout(WITHIN):
        while list(await other.publish([to(GATEWAY.name)])) != [Published.RETURNED]:
            pass


async def test_a_connection_that_is_closed_is_not_replaced(installation: Installation) -> None:
    """Replacing it is no error then, and opens nothing."""
    broker = await installation.connect()
    await broker.close()
    await broker.reconnect()
    assert not await broker.healthy()
    assert not await broker.blocked()


async def test_an_exclusive_queue_dies_with_a_closed_connection(
    installation: Installation,
) -> None:
    """Closing in good order takes the queue along, with its bindings."""
    gateway, other = await installation.connect(), await installation.connect(BOB)
    await declare(other, exchanges=[Exchange("topics")])
    bound = Queue("bound", QueueKind.EXCLUSIVE, (Binding("topics"),))
    subscription = await gateway.subscribe(bound, prefetch=10)
    await send(other, "bound", "x")
    await take(subscription, 1)
    await gateway.close()
    assert list(await subscription.take(1)) == []
    assert list(await other.publish([to("bound")])) == [Published.RETURNED]


async def test_an_exclusive_queue_ends_with_its_subscription(installation: Installation) -> None:
    """Stopping deletes it, with its bindings and all in it: publishers learn so at once."""
    gateway, other = await installation.connect(), await installation.connect(BOB)
    await declare(other, exchanges=[Exchange("topics")])
    bound = Queue("bound", QueueKind.EXCLUSIVE, (Binding("topics"),))
    subscription = await gateway.subscribe(bound, prefetch=2)
    await send(other, "bound", *"abcd")
    taken = await take(subscription, 1)
    waiting = asyncio.create_task(other.publish([to("bound")] * 20))
    await subscription.stop()
    await subscription.stop()
    assert set(await waiting) <= {Published.CONFIRMED, Published.RETURNED}
    assert (
        list(await other.publish([to("bound"), Outbound("topics", "any", b"")]))
        == [Published.RETURNED] * 2
    )
    assert [message.body for message in await subscription.take(5)] == [b"b"]
    assert list(await subscription.take(5)) == []
    await subscription.ack(taken)
    await subscription.pause()
    await subscription.resume()
    assert await gateway.healthy()
    successor = await other.subscribe(bound, prefetch=2)
    await send(gateway, "bound", "e")
    assert await bodies(successor, 1) == ["e"]


async def test_a_paused_exclusive_subscription_keeps_its_queue(installation: Installation) -> None:
    """Paused, it takes nothing; its queue stays and fills, and resumed it goes on in order."""
    gateway, other = await installation.connect(), await installation.connect(BOB)
    subscription = await gateway.subscribe(GATEWAY, prefetch=2)
    for _ in range(3):
        await subscription.pause()
        waiting = asyncio.create_task(bodies(subscription, 2))
        await send(other, GATEWAY.name, *"abcd")
        assert not waiting.done()
        await subscription.resume()
        async with asyncio.timeout(WITHIN):
            assert await waiting == ["a", "b"]
        assert await bodies(subscription, 2) == ["c", "d"]


async def test_an_exclusive_queue_belongs_to_one_connection(installation: Installation) -> None:
    """Another connection may publish into it, and neither consume nor declare it."""
    owner, other = await installation.connect(), await installation.connect(BOB)
    await owner.subscribe(GATEWAY, prefetch=10)
    with pytest.raises(ConfigurationError, match=GATEWAY.name):
        await other.subscribe(GATEWAY, prefetch=10)
    assert list(await other.publish([to(GATEWAY.name)])) == [Published.CONFIRMED]


async def test_calls_under_way_fail_and_the_next_ones_work(installation: Installation) -> None:
    """An answer cannot reach a connection that is gone: the caller learns so before its timeout."""
    asking, working = await installation.connect(ALICE), await installation.connect(BOB)
    await declare(working, WORK)
    worker = await working.subscribe(WORK, prefetch=10)
    requester = await asking.requester()
    calling = asyncio.create_task(requester.call(to("work"), timeout=WITHIN))
    (request,) = await take(worker, 1)
    await installation.drop_connections()
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(WITHIN):
            await calling
    await worker.ack([request])
    calling = asyncio.create_task(
        retry(
            lambda: requester.call(to("work", "again"), timeout=WITHIN),
            policy=RetryPolicy(),
            on=BrokerUnavailable,
        )
    )
    async with asyncio.timeout(WITHIN):
        while (request := (await take(worker, 1))[0]).body != b"again":
            await worker.ack([request])
    reply_to = request.reply_to or ""
    reply = Outbound("", reply_to, b"answer", False, correlation_id=request.correlation_id)
    await retry(lambda: working.publish([reply]), policy=RetryPolicy(), on=BrokerUnavailable)
    assert (await calling).body == b"answer"


async def test_a_closed_connection_does_nothing_more(installation: Installation) -> None:
    """Closing twice is once; afterwards everything says that the connection is closed."""
    broker = await installation.connect()
    await declare(broker, WORK)
    assert await broker.healthy()
    await broker.close()
    await broker.close()
    assert not await broker.healthy()
    with pytest.raises(BrokerUnavailable):
        await broker.publish([to("work")])
    with pytest.raises(BrokerUnavailable):
        await broker.subscribe(WORK, prefetch=1)
    with pytest.raises(BrokerUnavailable):
        await broker.requester()
    with pytest.raises(BrokerUnavailable):
        await declare(broker, WORK)
