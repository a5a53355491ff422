"""Every worker but the gateway, on time that stands still, with both sides in the test's hand.

A test runs the deadlines worker's rounds itself (:meth:`System.process_due`): it knows what is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aoi_events.bootstrap.installation import Installation
from aoi_events.contracts.answers import (
    ClientRegisteredV1,
)
from aoi_events.contracts.events import CloudEvent
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.parked import ParkedMessage
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.broker import Broker, Subscription
from aoi_events.testing.scripted import ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import FixedDice, ManualClock
from aoi_events.topology import EVENTS, Binding, Queue, QueueKind, gateway_queue
from tests.support.actors import Device, Node, User, secret_and_hash
from tests.support.limits import WITHIN

GATEWAY = "aoi-gateway"

WORKERS = ("registration", "activation", "notification", "scripted", "outcome", "strays")
"""All but the gateway, which tests play, and the deadlines, at which tests look."""

T = TypeVar("T")


class Events:
    """Every event, in the order in which it came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, CloudEvent]] = []
        self._changed = asyncio.Condition()

    async def collect(self, subscription: Subscription) -> None:
        """For ever."""
        while messages := await subscription.take(100):
            async with self._changed:
                self.seen += [(m.routing_key, CloudEvent.decode(m.body)) for m in messages]
                self._changed.notify_all()
            await subscription.ack(messages)

    def of(self, kind: str, **data: object) -> list[CloudEvent]:
        """Those of a kind whose data say this."""
        return [
            event
            for _, event in self.seen
            if event.kind == kind
            and all(getattr(event.data, name) == value for name, value in data.items())
        ]

    async def wait_for(self, kind: str, *, count: int = 1, **data: object) -> CloudEvent:
        """The ``count``-th of a kind whose data say this, however long ago it came."""
        try:
            async with asyncio.timeout(WITHIN), self._changed:
                await self._changed.wait_for(lambda: len(self.of(kind, **data)) >= count)
        except TimeoutError:
            seen = [(key, event.data) for key, event in self.seen]
            raise AssertionError(f"no {kind} {data}; there were {seen}") from None
        return self.of(kind, **data)[count - 1]

    def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [event.kind for _, event in self.seen]


@dataclass
class System:
    """An installation under test."""

    installation: Installation
    clock: ManualClock
    dice: FixedDice
    provider: ScriptedProvider
    plugin: ScriptedPlugin
    connect: Callable[[str], Awaitable[Broker]]
    stack: AsyncExitStack
    events: Events = field(default_factory=Events)
    users: dict[str, User] = field(default_factory=dict)

    async def start(self, workers: Sequence[str]) -> None:
        """Collect events and start workers; they stop when the stack ends."""
        watcher = await self._opened("watcher")
        queue = Queue("aoi.reply.watcher.all", QueueKind.EXCLUSIVE, bindings=(Binding(EVENTS),))
        self._beside(self.events.collect(await watcher.subscribe(queue, prefetch=100)))
        await self.serve(*workers)

    async def serve(self, *workers: str) -> None:
        """Run these workers until the test ends; ``strays`` set unknown requests and dead letters
        aside.
        """
        for name in workers:
            if name == "strays":
                for stray in self.installation.strays():
                    await self.run(stray)
            else:
                await self.run(self.installation.worker(name))

    async def run(self, worker: Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]) -> None:
        """Run a worker until the test ends; then it must drain."""
        stop, started = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(worker(stop, started))

        async def end() -> None:
            stop.set()
            async with asyncio.timeout(WITHIN):
                await task

        self.stack.push_async_callback(end)
        _, starting = await first_completed(task, started.wait())
        if starting.cancelled():
            task.result()

    def _beside(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(end)

    async def _opened(self, name: str) -> Broker:
        broker = await self.connect(name)
        self.stack.push_async_callback(broker.close)
        return broker

    async def user(self, name: str = "shop") -> User:
        """A broker user; the same one each time."""
        if name not in self.users:
            broker = await self._opened(name)
            self.users[name] = User(broker, await broker.requester())
        return self.users[name]

    async def node(self, name: str = "gw-1") -> Node:
        """A gateway node with a connection of its own."""
        broker = await self._opened(GATEWAY)
        user = User(broker, await broker.requester())
        queue = Queue(gateway_queue(name), QueueKind.EXCLUSIVE)
        node = Node(name, user, await broker.subscribe(queue, prefetch=100))
        self._beside(node.consume())
        return node

    async def client(
        self, identity: str = "tel:+15550100", *, device: str = "phone", **more: Any
    ) -> Device:
        """A registered client."""
        user = await self.user("devices")
        secret, hashed = secret_and_hash()
        answer = await user.ask(
            "client.register", device=device, identity=identity, secret_hash=hashed, **more
        )
        assert isinstance(answer, ClientRegisteredV1), answer
        return Device(user, answer.client, secret, identity)

    async def device(
        self,
        *channels: str,
        apps: Sequence[str] = ("org.mail",),
        identity: str = "tel:+15550100",
    ) -> Device:
        """A client with apps and active channels."""
        device = await self.client(identity)
        for app in apps:
            await device.register_app(app)
        if channels:
            await device.activate(*channels)
        return device

    async def process_due(self) -> None:
        """Look at everything that is due."""
        worker = self.installation.deadlines()
        async with asyncio.timeout(WITHIN):
            while await worker.process_due():
                pass

    async def advance(self, seconds: float) -> None:
        """Move the time on, then look."""
        self.clock.advance(seconds)
        await self.process_due()

    async def parked(self) -> list[ParkedMessage]:
        """Every parked message, the oldest first."""
        async with self.installation.store.transaction(read_only=True) as tx:
            return list(reversed(await tx.parked()))

    async def rows(self, *notifications: str, sender: str = "shop") -> list[Delivery]:
        """The deliveries of notifications as they stand in the store."""
        async with self.installation.store.transaction(read_only=True) as tx:
            found = [await tx.deliveries_of(sender, name) for name in notifications]
        return [row for rows in found for row in rows]

    async def until(self, look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
        """What ``look`` finds as soon as it is ``wanted``; for what no event tells."""
        async with asyncio.timeout(WITHIN):
            while not wanted(found := await look()):  # noqa: ASYNC110 - nothing signals this
                await asyncio.sleep(0)
        return found
