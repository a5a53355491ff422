"""The batch runtime: what it promises of messages, whatever happens (design, section 5)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.topology import OUTCOME, quarantine_of, topology, worker_queue
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal, StoreUnavailable
from aoi_events.ports.broker import Inbound, Outbound, Queue, QueueKind, Subscription
from aoi_events.services.handler import Handler
from aoi_events.services.parking import Parking
from aoi_events.services.runtime import BatchWorker
from aoi_events.store.store import SqlStore, open_store
from aoi_events.testing.stopped_clock import ManualClock
from tests.limits import WITHIN

ANSWERS = "aoi.reply.shop.answers"


class Wishes(Handler[Inbound]):
    """Does what messages wish: their bodies name it. Everything handled is echoed to a queue."""

    queue = OUTCOME

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.again: list[bool] = []
        self.store_is_up = asyncio.Event()
        self.store_is_up.set()
        self.fault: Exception = StoreUnavailable("the test took it away")
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.after: Callable[[], None] = lambda: None
        self.called = asyncio.Condition()

    def read(self, message: Inbound) -> Inbound:
        """Refuses and breaks where the body says so."""
        if message.body == b"refuse me":
            raise Refusal(ErrorCode.INVALID, "as it wishes", field="a.b")
        if message.body == b"break reading":
            raise KeyError("a bug in reading")
        return message

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Echo."""
        bodies = [item.body.decode() for item in items]
        async with self.called:
            self.batches.append(bodies)
            self.again += [item.redelivered for item in items]
            self.called.notify_all()
        await self.may_end.wait()
        if not self.store_is_up.is_set():
            raise self.fault
        if "break" in bodies:
            raise ValueError("a bug in handling")
        if "hang" in bodies:
            await asyncio.Event().wait()
        self.after()
        return [Outbound("", "echo", item.body) for item in items]

    def abandoned(self, item: Inbound) -> Sequence[Outbound]:
        """Say so."""
        return [Outbound("", "echo", b"abandoned " + item.body)]

    async def calls(self, count: int) -> None:
        """Return once it was called so often."""
        async with asyncio.timeout(WITHIN), self.called:
            await self.called.wait_for(lambda: len(self.batches) >= count)


@dataclass
class Bench:
    """One worker on a broker of its own; ``sender`` is who sends and hears."""

    server: MemoryServer
    store: SqlStore
    clock: ManualClock
    handler: Wishes
    worker: BatchWorker[Inbound]
    broker: MemoryBroker
    sender: MemoryBroker
    echo: Subscription
    answers: Subscription
    gave_up: asyncio.Event
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None

    async def send(self, *bodies: str, queue: str = OUTCOME) -> None:
        """Publish these, with a usable reply_to."""
        await self.sender.publish(
            [Outbound("", queue, b.encode(), reply_to=ANSWERS) for b in bodies]
        )

    async def start(self) -> None:
        """Run the worker."""
        started = asyncio.Event()
        self.running = asyncio.create_task(self.worker.run(self.stop, started))
        await started.wait()

    async def end(self) -> None:
        """Tell the worker to stop, and see that it does."""
        self.stop.set()
        if self.running is not None:
            async with asyncio.timeout(WITHIN):
                await self.running

    async def patience_passes(self) -> None:
        """The worker rests, and then it has rested long enough."""
        async with asyncio.timeout(WITHIN):
            await self.clock.somebody_sleeps()
        self.clock.advance(6)

    async def echoed(self, count: int) -> list[str]:
        """The next echoes."""
        return [message.body.decode() for message in await _take(self.echo, count)]

    async def answered(self) -> str:
        """The next answer."""
        (message,) = await _take(self.answers, 1)
        return message.body.decode()

    async def parked(self) -> Sequence[ParkedMessage]:
        """What was set aside."""
        async with self.store.transaction(read_only=True) as tx:
            return await tx.parked()

    async def fail_twice(self, *bodies: str) -> None:
        """Publish messages whose deliveries fail twice before the worker starts."""
        await self.send(*bodies)
        held = await self.sender.subscribe(worker_queue(OUTCOME)[0], prefetch=len(bodies))
        async with asyncio.timeout(WITHIN):
            for _ in range(2):
                taken: list[Inbound] = []
                while len(taken) < len(bodies):
                    taken += await held.take(len(bodies))
                await held.requeue(taken)
        await held.pause()
        await held.stop()


async def _take(subscription: Subscription, count: int) -> list[Inbound]:
    found: list[Inbound] = []
    async with asyncio.timeout(WITHIN):
        while len(found) < count:
            taken = await subscription.take(count - len(found))
            await subscription.ack(taken)
            found += taken
    return found


@pytest.fixture
async def bench(aoi_empty_database: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    """A worker that is not running yet."""
    shutil.copy(aoi_empty_database, tmp_path / "aoi.sqlite3")
    server, clock, handler = MemoryServer(), ManualClock(), Wishes()
    async with AsyncExitStack() as stack:
        store = await open_store(f"sqlite:///{tmp_path / 'aoi.sqlite3'}")
        stack.push_async_callback(store.close)
        broker, sender = MemoryBroker(server), MemoryBroker(server, user="shop")
        for each in (broker, sender):
            stack.push_async_callback(each.close)
        await broker.declare(topology())
        listener = MemoryBroker(server, user="listener")
        stack.push_async_callback(listener.close)
        gave_up = asyncio.Event()
        loop = asyncio.get_running_loop()

        def give_up() -> None:
            loop.call_soon_threadsafe(gave_up.set)

        bench = Bench(
            server,
            store,
            clock,
            handler,
            BatchWorker(
                handler,
                broker=broker,
                parking=Parking(store, clock, quota=3),
                clock=clock,
                hard_limit=0.05,
                give_up=give_up,
            ),
            broker,
            sender,
            await listener.subscribe(Queue("echo", QueueKind.EXCLUSIVE), prefetch=100),
            await listener.subscribe(Queue(ANSWERS, QueueKind.EXCLUSIVE), prefetch=100),
            gave_up,
        )
        yield bench
        handler.store_is_up.set()
        await bench.end()


async def test_a_batch_is_whatever_waits(bench: Bench) -> None:
    """Section 5: take whatever waits, up to a limit, never wait for more; one transaction."""
    await bench.send("a", "b", "c")
    await bench.start()
    assert await bench.echoed(3) == ["a", "b", "c"]
    assert bench.handler.batches == [["a", "b", "c"]]


async def test_a_bug_parks_the_item_that_has_it_and_no_other(bench: Bench) -> None:
    """Section 5: an exception in a batch reruns it item by item; an item that fails alone is
    parked, with an *internal* answer, and what its handler owes for it.
    """
    await bench.send("a", "break", "c")
    await bench.start()
    assert sorted(await bench.echoed(3)) == ["a", "abandoned break", "c"]
    assert '"code":"internal"' in await bench.answered()
    (parked,) = await bench.parked()
    assert (parked.code, parked.body, parked.sender) == ("internal", b"break", "shop")
    assert "ValueError" in parked.reason
    assert bench.server.waiting(OUTCOME) == 0


async def test_what_cannot_be_read_is_parked_and_answered(bench: Bench) -> None:
    """Promise (bad input): never stops a worker and never vanishes: a stable code to reply_to, and
    parked before the ack; a bug in reading counts as one in handling.
    """
    await bench.send("refuse me", "break reading", "a")
    await bench.start()
    assert await bench.echoed(1) == ["a"]
    codes = {await bench.answered(), await bench.answered()}
    assert any('"code":"invalid"' in each and '"field":"a.b"' in each for each in codes)
    assert any('"code":"internal"' in each for each in codes)
    assert {row.code for row in await bench.parked()} == {"invalid", "internal"}


async def test_over_the_quota_is_counted_only(bench: Bench) -> None:
    """Promise (bad input): a quota per sender; what is over it is counted, answered, and gone."""
    await bench.start()
    for _ in range(5):
        await bench.send("refuse me")
        await bench.answered()
    async with bench.store.transaction(read_only=True) as tx:
        assert await tx.parked_counts() == {("shop", "invalid"): (3, 2)}


async def test_a_store_that_is_down_pauses_and_parks_nothing(bench: Bench) -> None:
    """Promise: errors of the store pause consumption and never park; then it goes on, and the
    outputs are all due again.
    """
    bench.handler.store_is_up.clear()
    await bench.send("a", "break")
    await bench.start()
    for tries in (1, 2, 3):
        await bench.handler.calls(tries)
        if tries < 3:
            await bench.patience_passes()
    await bench.send("b")
    assert bench.server.waiting(OUTCOME) == 1  # paused: it is there for others
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert sorted(await bench.echoed(3)) == ["a", "abandoned break", "b"]
    assert bench.handler.batches[:3] == [["a", "break"]] * 3
    assert bench.handler.again[:6] == [False, False, True, True, True, True]


async def test_settings_that_cannot_work_pause_too(bench: Bench) -> None:
    """Section 5: a token key that is not on this machine is no message's fault: nothing is parked,
    and the work goes on as soon as it can.
    """
    bench.handler.fault = ConfigurationError("token key 'k1' is not here")
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert await bench.echoed(1) == ["a"]
    assert list(await bench.parked()) == []


async def test_a_broker_that_is_gone_after_the_commit_costs_a_repeat(bench: Bench) -> None:
    """Promise: acked only after the outputs are confirmed; lost between commit and confirm, they
    are published by the next run, which knows that it is a repeat.
    """
    bench.handler.after = bench.server.stop
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    bench.handler.after = lambda: None
    bench.server.start()
    await bench.patience_passes()
    await bench.handler.calls(2)
    assert bench.handler.again[1] is True
    assert list(await bench.parked()) == []


async def test_stopped_while_paused_it_ends_at_once(bench: Bench) -> None:
    """Point 5: told to stop while it waits for the store, a worker ends; what it held stays."""
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.end()
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 1


async def test_stopped_it_finishes_what_it_took(bench: Bench) -> None:
    """Section 5 (stopping): drain: what was taken is finished and acknowledged."""
    bench.handler.after = bench.stop.set
    await bench.send("a", "b")
    await bench.start()
    await bench.handler.calls(1)
    await bench.end()
    assert await bench.echoed(2) == ["a", "b"]
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 0


async def test_stopped_it_handles_all_that_came_to_it(bench: Bench) -> None:
    """Section 5 (stopping): a drain gives nothing back, which would count against it: what came
    within the prefetch while a batch was handled is handled, too.
    """
    bench.handler.may_end.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.send("b", "c")
    bench.stop.set()
    await asyncio.sleep(0)
    bench.handler.may_end.set()
    await bench.end()
    assert await bench.echoed(3) == ["a", "b", "c"]
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 0


async def test_a_fault_while_draining_leaves_the_rest_to_others(bench: Bench) -> None:
    """Point 5: a worker that cannot finish in order, because the store is away, holds nothing."""
    bench.handler.may_end.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.send("b", "c")
    bench.handler.store_is_up.clear()
    bench.stop.set()
    await asyncio.sleep(0)
    bench.handler.may_end.set()
    await bench.end()
    assert bench.server.waiting(OUTCOME) == 2
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 3


async def test_a_message_that_failed_twice_is_handled_alone(bench: Bench) -> None:
    """Section 5 (poison): at a delivery count of 2 it is moved, unparsed, to quarantine, so that
    the innocent ones of its batch do not go down with it; there it keeps its sender and reply_to.
    """
    await bench.fail_twice("refuse me", "b")
    await bench.send("a")
    await bench.start()
    assert sorted(await bench.echoed(2)) == ["a", "b"]
    assert sorted(bench.handler.batches) == [["a"], ["b"]]
    assert '"code":"invalid"' in await bench.answered()
    (parked,) = await bench.parked()
    assert (parked.sender, parked.queue) == ("shop", OUTCOME)


async def test_one_that_hangs_in_quarantine_ends_the_process(bench: Bench) -> None:
    """Section 5 (poison): a hard time limit in quarantine ends the process; others take over."""
    await bench.fail_twice("hang")
    await bench.start()
    async with asyncio.timeout(WITHIN):
        await bench.gave_up.wait()
    assert bench.running is not None
    bench.running.cancel()
    await asyncio.gather(bench.running, return_exceptions=True)
    bench.running = None
    await bench.broker.close()
    assert bench.server.waiting(quarantine_of(OUTCOME)) == 1
