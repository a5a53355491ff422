"""One worker on a broker of its own, whose handler does what the messages ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode, Refusal, StoreUnavailable
from aoi_events.ports.broker import Inbound, Outbound, Subscription
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parked, Parking
from aoi_events.store.store import SqlStore
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import OUTCOME, worker_queue
from tests.support.failed_deliveries import fail_deliveries
from tests.support.limits import WITHIN

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
        self.broken: Callable[[], None] = lambda: None
        self.to = "echo"
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
            self.broken()
            raise ValueError("a bug in handling")
        if "hang" in bodies:
            await asyncio.Event().wait()
        self.after()
        return [Outbound("", self.to, item.body) for item in items]

    def abandoned(self, item: Inbound) -> Sequence[Outbound]:
        """Say so."""
        return [Outbound("", self.to, b"abandoned " + item.body)]

    async def calls(self, count: int) -> None:
        """Return once it was called so often."""
        async with asyncio.timeout(WITHIN), self.called:
            await self.called.wait_for(lambda: len(self.batches) >= count)


class FailingParking(Parking):
    """Parks, unless the test took the store away; ``tried`` counts how often it was asked."""

    fault: Exception | None = None
    tried = 0

    async def park(self, queue: str, entries: Sequence[Parked]) -> int:
        """Fail, or park."""
        self.tried += bool(entries)
        if entries and self.fault is not None:
            raise self.fault
        return await super().park(queue, entries)


@dataclass
class Bench:
    """One worker on a broker of its own; ``sender`` is who sends and hears."""

    server: MemoryServer
    store: SqlStore
    clock: ManualClock
    handler: Wishes
    parking: FailingParking
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

    async def dies(self) -> None:
        """Wait until the worker gives up, and end it as its process would; another may start."""
        async with asyncio.timeout(WITHIN):
            await self.gave_up.wait()
        self.gave_up.clear()
        assert self.running is not None
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.running = None
        await self.broker.close()
        self.broker = MemoryBroker(self.server)
        self.worker = replace(self.worker, broker=self.broker)

    async def patience_passes(self) -> None:
        """Let the worker pause, and let the pause end."""
        async with asyncio.timeout(WITHIN):
            await self.clock.somebody_sleeps()
        self.clock.advance(6)

    async def echoed(self, count: int) -> list[str]:
        """The next echoes."""
        return [message.body.decode() for message in await _take(self.echo, count)]

    async def until_echoed(self, body: str) -> None:
        """Return when this is echoed, whatever is before it."""
        while await self.echoed(1) != [body]:
            pass

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

        async def connect() -> MemoryBroker:
            return MemoryBroker(self.server)

        await fail_deliveries(connect, worker_queue(OUTCOME)[0], 2, messages=len(bodies))


async def _take(subscription: Subscription, count: int) -> list[Inbound]:
    found: list[Inbound] = []
    async with asyncio.timeout(WITHIN):
        while len(found) < count:
            taken = await subscription.take(count - len(found))
            await subscription.ack(taken)
            found += taken
    return found
