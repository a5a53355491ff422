from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.resubscribing_consumer import ResubscribingConsumer
from aoi_events.platform.retry import FailedAttempt, RetryPolicy
from aoi_events.ports.broker import Outbound, Published
from aoi_events.topology import Queue, QueueKind
from tests.support.limits import WITHIN


class Setup:
    """A consumer on a broker whose connections a test can cut, and a sender beside it."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.broker = MemoryBroker(self.server, user="consumer")
        self.sender = MemoryBroker(self.server, user="sender")
        self.failures: list[FailedAttempt] = []
        self.failed = asyncio.Event()
        self.queues: list[str] = []
        self.consumer = ResubscribingConsumer(
            self.broker,
            self.new_queue,
            prefetch=10,
            policy=RetryPolicy(first=0.001, most=0.001, jitter=0.0),
            failed=self.note,
            sleep=lambda _: asyncio.sleep(0),
        )

    def new_queue(self) -> Queue:
        """A queue with a name of its own."""
        self.queues.append(f"own-{len(self.queues) + 1}")
        return Queue(self.queues[-1], QueueKind.EXCLUSIVE)

    def note(self, attempt: FailedAttempt) -> None:
        """Note a failed attempt to subscribe."""
        self.failures.append(attempt)
        self.failed.set()

    async def send(self, queue: str, body: bytes) -> Published:
        """Publish into a queue."""
        (result,) = await self.sender.publish([Outbound("", queue, body)])
        return result

    async def taken(self) -> list[bytes] | None:
        """The bodies of the next messages, which are acknowledged; None: stopped."""
        async with asyncio.timeout(WITHIN):
            messages = await self.consumer.take()
        if messages is None:
            return None
        await self.consumer.ack(messages)
        return [message.body for message in messages]


async def test_a_lost_queue_is_replaced_by_a_new_one() -> None:
    """The consumer reports that the queue was lost, and goes on with one of another name."""
    setup = Setup()
    await setup.consumer.subscribe()
    await setup.send("own-1", b"a")
    assert await setup.taken() == [b"a"]
    await setup.send("own-1", b"lost")
    setup.server.drop_connection("consumer")
    assert await setup.taken() == []
    assert await setup.send("own-1", b"nowhere") is Published.RETURNED
    await setup.send("own-2", b"b")
    assert await setup.taken() == [b"b"]


async def test_it_subscribes_when_the_broker_is_back() -> None:
    """The failed attempt is reported, none is made while the broker is away, and the next one comes
    with the connection.
    """
    setup = Setup()
    await setup.consumer.subscribe()
    setup.server.stop()
    taking = asyncio.create_task(setup.taken())
    async with asyncio.timeout(WITHIN):
        await setup.failed.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    (failure,) = setup.failures
    assert isinstance(failure.error, BrokerUnavailable)
    setup.server.start()
    assert await taking == []
    assert setup.failures == [failure]


async def test_the_first_subscription_can_fail_at_once() -> None:
    """A single attempt raises what is wrong."""
    setup = Setup()
    setup.server.stop()
    with pytest.raises(BrokerUnavailable):
        await setup.consumer.subscribe_once()
    assert setup.failures == []


async def test_stopped_it_takes_no_more() -> None:
    """A take that waits returns None, and so does each later one."""
    setup = Setup()
    await setup.consumer.subscribe()
    taking = asyncio.create_task(setup.taken())
    await asyncio.sleep(0)
    await setup.consumer.stop()
    await setup.consumer.stop()
    assert await taking is None
    assert await setup.taken() is None


async def test_stopped_while_the_broker_is_away_it_subscribes_no_more() -> None:
    """The attempts end, and no queue is declared when the broker is back."""
    setup = Setup()
    await setup.consumer.subscribe()
    setup.server.stop()
    taking = asyncio.create_task(setup.taken())
    async with asyncio.timeout(WITHIN):
        await setup.failed.wait()
    await setup.consumer.stop()
    setup.server.start()
    assert await taking is None
    for queue in setup.queues:
        assert await setup.send(queue, b"") is Published.RETURNED
