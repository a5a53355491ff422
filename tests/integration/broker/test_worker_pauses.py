from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.broker.rabbitmq.reconnecting_connection import HEARTBEAT
from aoi_events.errors import BrokerUnavailable, StoreUnavailable
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Inbound, Outbound, Published, Subscription
from aoi_events.ports.metrics import BrokerMetrics
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parking
from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.containers import RabbitServer
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import OUTCOME, QUARANTINE_AFTER, Queue, QueueKind, topology
from tests.support.limits import WITHIN

ECHO = Queue("echo", QueueKind.EXCLUSIVE)
BATCH = 10
OFTEN = 4 * QUARANTINE_AFTER
"""How often something fails: far more often than would send a message to quarantine."""


@pytest.fixture(scope="session")
def rabbit_server(own_rabbit_server: RabbitServer) -> RabbitServer:
    """One that may be broken."""
    return own_rabbit_server


class Troubled(Handler[Inbound]):
    """Echoes every message; its store fails at first. ``called`` is released at every call."""

    queue = OUTCOME

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.failed = asyncio.Event()
        self.delivery_counts: set[int] = set()
        self.called = asyncio.Semaphore(0)

    def read(self, message: Inbound) -> Inbound:
        """Any message is valid."""
        self.delivery_counts.add(message.delivery_count)
        return message

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Fails, or echoes."""
        self.called.release()
        if self.failures:
            self.failures -= 1
            self.failed.set()
            raise StoreUnavailable("the test took it away")
        return [Outbound("", ECHO.name, item.body) for item in items]


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    """Where a message would be parked."""
    store = await open_store("sqlite+aiosqlite://")
    yield store
    await store.close()


@asynccontextmanager
async def working(
    broker: RabbitBroker, handler: Troubled, store: SqlStore, gave_up: asyncio.Event
) -> AsyncIterator[None]:
    """A worker that never has to wait for its patience."""
    clock, stop = ManualClock(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def give_up() -> None:
        loop.call_soon_threadsafe(gave_up.set)

    worker = BatchWorker(
        handler,
        broker=broker,
        parking=Parking(store, clock, quota=3),
        clock=clock,
        batch=BATCH,
        give_up=give_up,
    )
    running = asyncio.create_task(worker.run(stop))
    hurrying = asyncio.create_task(hurry(clock))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(WITHIN):
            await running
        hurrying.cancel()


async def hurry(clock: ManualClock) -> None:
    """Whoever sleeps has slept long enough."""
    while True:
        await clock.somebody_sleeps()
        clock.advance(10)


async def echoes(subscription: Subscription, number: int) -> list[int]:
    """The next echoes, in order of their numbers."""
    heard: list[int] = []
    async with asyncio.timeout(WITHIN):
        while len(heard) < number:
            messages = await subscription.take(100)
            await subscription.ack(messages)
            heard += [int(message.body) for message in messages]
    return sorted(heard)


async def test_pauses_send_nobody_to_quarantine(rabbit_url: str, store: SqlStore) -> None:
    """Faults of the store, however many, count against no message that waits: each is handled once
    they end, none is quarantined or parked.
    """
    handler = Troubled(failures=OFTEN)
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(topology())
    echo = await broker.subscribe(ECHO, prefetch=1000)
    numbers = range(OFTEN * BATCH)
    await broker.publish([Outbound("", OUTCOME, str(n).encode()) for n in numbers])
    gave_up = asyncio.Event()
    async with working(broker, handler, store, gave_up):
        assert await echoes(echo, len(numbers)) == list(numbers)
    assert handler.failures == 0
    assert handler.delivery_counts == {0}
    async with store.transaction(read_only=True) as tx:
        assert await tx.parked() == []
    assert not gave_up.is_set()
    await broker.close()


@pytest.fixture
def impatient_rabbit(rabbit_server: RabbitServer) -> Iterator[None]:
    """RabbitMQ takes back what a consumer has held for a second, as it does after half an hour."""
    change = "[application:set_env(rabbit, Key, Value) || {Key, Value} <- [%s]]."
    rabbit_server.ctl("eval", change % "{consumer_timeout, 1000}, {channel_tick_interval, 200}")
    yield
    rabbit_server.ctl(
        "eval", change % "{consumer_timeout, 1800000}, {channel_tick_interval, 60000}"
    )


@pytest.mark.usefixtures("impatient_rabbit")
async def test_long_pauses_send_nobody_to_quarantine(rabbit_url: str, store: SqlStore) -> None:
    """Workers that pause for longer than RabbitMQ's ``consumer_timeout``, again and again, keep the
    messages that they hold; each is handled once when the store is back.
    """
    handler, gave_up = Troubled(failures=1_000_000), asyncio.Event()
    brokers = [await RabbitBroker.connect(rabbit_url) for _ in range(QUARANTINE_AFTER + 1)]
    sender = await RabbitBroker.connect(rabbit_url)
    await sender.declare(topology())
    echo = await sender.subscribe(ECHO, prefetch=1000)
    control = await sender.subscribe(Queue("control", QueueKind.EXCLUSIVE), prefetch=1)
    numbers = range(BATCH)
    async with AsyncExitStack() as stack, asyncio.timeout(WITHIN):
        for broker in brokers:
            await stack.enter_async_context(working(broker, handler, store, gave_up))
        await sender.publish([Outbound("", OUTCOME, str(n).encode()) for n in numbers])
        await handler.failed.wait()
        await sender.publish([Outbound("", "control", b"taken back")])
        for _ in range(2 + QUARANTINE_AFTER):
            await control.take(1)
        handler.failures = 0
        assert await echoes(echo, len(numbers)) == list(numbers)
        await sender.publish([Outbound("", OUTCOME, b"-1")])
        assert await echoes(echo, 1) == [-1]
    assert handler.delivery_counts == {0}
    for broker in (*brokers, sender):
        await broker.close()


async def test_restarts_send_nobody_to_quarantine(rabbit_url: str, store: SqlStore) -> None:
    """However often workers are told to stop while their queue is long, which holds what is far
    from its turn, no delivery of a message fails by it.
    """
    handler, gave_up = Troubled(), asyncio.Event()
    sender = await RabbitBroker.connect(rabbit_url)
    await sender.declare(topology())
    echo = await sender.subscribe(ECHO, prefetch=1000)
    numbers = range(100 * BATCH)
    await sender.publish([Outbound("", OUTCOME, str(n).encode()) for n in numbers])
    heard: list[int] = []
    for _ in range(OFTEN):
        broker = await RabbitBroker.connect(rabbit_url)
        async with working(broker, handler, store, gave_up):
            heard += await echoes(echo, 1)
        await broker.close()
    assert len(heard) < len(numbers), "the last restarts had nothing to lose"
    broker = await RabbitBroker.connect(rabbit_url)
    async with working(broker, handler, store, gave_up):
        heard += await echoes(echo, len(numbers) - len(heard))
    assert sorted(heard) == list(numbers)
    assert handler.delivery_counts == {0}
    await broker.close()
    await sender.close()


class Impatient(RabbitBroker):
    """Counts the publishes that the broker did not confirm in time."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "aoi",
        publish_within: float = 2.0,
        heartbeat: int = HEARTBEAT,
        metrics: BrokerMetrics = NO_METRICS,
    ) -> None:
        super().__init__(
            url, name=name, publish_within=publish_within, heartbeat=heartbeat, metrics=metrics
        )
        self.unconfirmed = 0
        self.counted = asyncio.Condition()

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish, and count."""
        try:
            return await super().publish(messages)
        except BrokerUnavailable as fault:
            if "did not confirm" in str(fault):
                async with self.counted:
                    self.unconfirmed += 1
                    self.counted.notify_all()
            raise


async def test_a_memory_alarm_pauses_and_parks_nothing(
    rabbit_server: RabbitServer, rabbit_url: str, store: SqlStore
) -> None:
    """While the broker takes no publishes a worker connects and tries again and again, and holds
    its messages; afterwards everything is handled, nothing was quarantined or parked, and nobody
    ended the process.
    """
    broker = await Impatient.connect(rabbit_url, publish_within=2.0)
    sender = await RabbitBroker.connect(rabbit_url)
    await broker.declare(topology())
    echo = await sender.subscribe(ECHO, prefetch=1000)
    numbers = range(BATCH)
    await sender.publish([Outbound("", OUTCOME, str(n).encode()) for n in numbers])
    handler, gave_up = Troubled(), asyncio.Event()
    await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        async with working(broker, handler, store, gave_up):
            async with asyncio.timeout(WITHIN), broker.counted:
                await broker.counted.wait_for(lambda: broker.unconfirmed > QUARANTINE_AFTER)
            await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "0.6")
            heard: set[int] = set()
            while heard != set(numbers):
                heard |= set(await echoes(echo, 1))
    finally:
        await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "0.6")
    assert handler.delivery_counts == {0}
    async with store.transaction(read_only=True) as tx:
        assert await tx.parked() == []
    assert not gave_up.is_set()
    await broker.close()
    await sender.close()


async def test_a_missing_queue_pauses_and_parks_nothing(
    rabbit_url: str, store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A publish comes back because its queue is missing: the worker pauses and tries again, as it
    does after a nack, until the queue exists; nothing was lost, quarantined or parked.
    """
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(topology())
    numbers = range(BATCH)
    await broker.publish([Outbound("", OUTCOME, str(n).encode()) for n in numbers])
    handler, gave_up = Troubled(), asyncio.Event()
    async with working(broker, handler, store, gave_up):
        async with asyncio.timeout(WITHIN):
            for _ in range(OFTEN):
                await handler.called.acquire()
        echo = await broker.subscribe(ECHO, prefetch=1000)
        heard: set[int] = set()
        while heard != set(numbers):
            heard |= set(await echoes(echo, 1))
    paused = [r.__dict__["error"] for r in caplog.records if r.getMessage() == "paused"]
    assert len(paused) >= OFTEN - 1
    assert all(f"queue {ECHO.name!r}: there is no such queue" in error for error in paused)
    assert handler.delivery_counts == {0}
    async with store.transaction(read_only=True) as tx:
        assert await tx.parked() == []
    assert not gave_up.is_set()
    await broker.close()
