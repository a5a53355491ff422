"""Every worker but the gateway, on time that stands still, with both sides in the test's hand.

The deadlines worker's look is the test's to take (:meth:`System.look`), so what is due is known.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aoi_events.bootstrap import Installation
from aoi_events.broker.topology import EVENTS, OUTCOME, REQUESTS, gateway_queue
from aoi_events.contracts.answers import (
    ANSWERS,
    AnyAnswer,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientConnectedV1,
    ClientRegisteredV1,
    DeliveryStatus,
    NotificationAcceptedV1,
    NotificationStatusV1,
    RefusedV1,
)
from aoi_events.contracts.envelopes import (
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.contracts.events import CloudEvent
from aoi_events.domain.delivery import Delivery
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode
from aoi_events.ports.broker import (
    Binding,
    Broker,
    Outbound,
    Queue,
    QueueKind,
    Requester,
    Subscription,
)
from aoi_events.testing.scripted import ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import FixedDice, ManualClock

__all__ = ["Device", "Events", "Node", "System", "User", "secret_and_hash"]

WITHIN = 10.0
"""Seconds of the machine's time that anything may take; nothing should come near."""

GATEWAY = "aoi-gateway"

WORKERS = ("registration", "activation", "notification", "scripted", "outcome", "strays")
"""All but the gateway, which tests play, and the deadlines, at which tests look."""

T = TypeVar("T")


def secret_and_hash() -> tuple[str, str]:
    """A new client secret, and what the server sees of it."""
    octets = secrets.token_bytes(32)
    text = urlsafe_b64encode(octets).decode().rstrip("=")
    return text, hashlib.sha256(octets).hexdigest()


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
class User:
    """A broker user who asks."""

    broker: Broker
    requester: Requester

    async def ask(
        self, name: str, *, headers: dict[str, str] | None = None, **body: Any
    ) -> AnyAnswer:
        """Ask, and return the answer."""
        return await self.ask_bytes(name, _encode(body), headers=headers)

    async def ask_bytes(
        self, name: str, body: bytes, *, headers: dict[str, str] | None = None
    ) -> AnyAnswer:
        """Ask with any octets for a body."""
        request = Outbound(REQUESTS, name, body, headers=headers or {})
        answer = await self.requester.call(request, timeout=WITHIN)
        return ANSWERS[answer.type or ""].decode(answer.body)

    async def refused(self, name: str, **body: Any) -> RefusedV1:
        """Ask, and return why not."""
        answer = await self.ask(name, **body)
        assert isinstance(answer, RefusedV1), f"{name} was not refused: {answer!r}"
        return answer

    async def tell(self, name: str, *, reply_to: str | None = None, **body: Any) -> None:
        """Publish a request and wait for no answer."""
        await self.broker.publish([Outbound(REQUESTS, name, _encode(body), reply_to=reply_to)])

    async def send(
        self, notification: str, *tokens: str, data: str = "hello", **more: Any
    ) -> NotificationAcceptedV1:
        """``notification.send``."""
        content = {"data": data}
        answer = await self.ask(
            "notification.send",
            notification=notification,
            tokens=list(tokens),
            content=content,
            **more,
        )
        assert isinstance(answer, NotificationAcceptedV1), answer
        return answer

    async def status(self, notification: str) -> Sequence[DeliveryStatus]:
        """``notification.status``: its deliveries."""
        answer = await self.ask("notification.status", notification=notification)
        assert isinstance(answer, NotificationStatusV1), answer
        return answer.deliveries

    async def story(self, notification: str) -> list[str]:
        """What happened to the notification's only delivery, in words."""
        (delivery,) = await self.status(notification)
        return [hop.what for hop in delivery.story]


@dataclass
class Device:
    """An AOI Client, as the server sees it."""

    user: User
    client: str
    secret: str
    identity: str
    sequence: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token of its only app."""
        (token,) = self.tokens.values()
        return token

    @property
    def proof(self) -> dict[str, str]:
        """What a later registration adds, to prove this one."""
        return {"client": self.client, "secret": self.secret}

    async def ask(self, name: str, **body: Any) -> AnyAnswer:
        """Ask as this client."""
        return await self.user.ask(name, **({"client": self.client, "secret": self.secret} | body))

    async def refused(self, name: str, **body: Any) -> RefusedV1:
        """Ask as this client, and return why not."""
        answer = await self.ask(name, **body)
        assert isinstance(answer, RefusedV1), f"{name} was not refused: {answer!r}"
        return answer

    def next(self) -> int:
        """The next sequence number."""
        self.sequence += 1
        return self.sequence

    async def register_app(self, name: str = "org.mail", **more: Any) -> ApplicationRegisteredV1:
        """``application.register``; keeps the token."""
        body = {"application": name, "sequence": self.next()} | more
        answer = await self.ask("application.register", **body)
        assert isinstance(answer, ApplicationRegisteredV1), answer
        if answer.token is not None:
            self.tokens[name] = answer.token
        return answer

    async def activate(self, *types: str, **more: Any) -> ChannelsActivatedV1:
        """``channel.activate`` with an offer of each type (``type:address`` for connectionless)."""
        body = {"sequence": self.next(), "offers": [_offer(kind) for kind in types]} | more
        answer = await self.ask("channel.activate", **body)
        assert isinstance(answer, ChannelsActivatedV1), answer
        return answer


@dataclass
class Node:
    """A gateway node: its queue, and what devices say over it."""

    name: str
    user: User
    subscription: Subscription
    items: asyncio.Queue[DeliverItem | CloseItem] = field(default_factory=asyncio.Queue)

    async def consume(self) -> None:
        """For ever."""
        while messages := await self.subscription.take(100):
            for message in messages:
                for item in DeliveryBatchV1.decode(message.body).items:
                    assert isinstance(item, DeliverItem | CloseItem)
                    self.items.put_nowait(item)
            await self.subscription.ack(messages)

    async def connect(self, device: Device, session: str = "s1") -> ClientConnectedV1:
        """A session of the device opens here."""
        answer = await self.user.ask(
            "client.connected",
            client=device.client,
            secret=device.secret,
            node=self.name,
            session=session,
        )
        assert isinstance(answer, ClientConnectedV1), answer
        return answer

    async def disconnect(self, device: Device, epoch: int) -> None:
        """The session of that epoch ended."""
        await self.user.ask("client.disconnected", client=device.client, epoch=epoch)

    async def next_delivery(self) -> DeliverItem:
        """What is to be sent to a device next."""
        async with asyncio.timeout(WITHIN):
            item = await self.items.get()
        assert isinstance(item, DeliverItem), item
        return item

    async def next_close(self) -> CloseItem:
        """Which session is to be closed next."""
        async with asyncio.timeout(WITHIN):
            item = await self.items.get()
        assert isinstance(item, CloseItem), item
        return item

    async def report(self, item: DeliverItem, kind: OutcomeKind, **more: Any) -> None:
        """Say what became of a step."""
        outcome = OutcomeItem(
            delivery=item.delivery,
            kind=kind,
            at=item.accepted_at,
            client=item.client,
            channel=item.channel,
            step=item.step,
            attempt=item.attempt,
        ).model_copy(update=more)
        body = OutcomeBatchV1(items=(outcome,)).encode()
        await self.user.broker.publish([Outbound("", OUTCOME, body)])

    async def acknowledge(self, item: DeliverItem, **more: Any) -> None:
        """The device has it."""
        await self.report(item, OutcomeKind.ACKNOWLEDGED, **more)

    async def die(self) -> None:
        """The node's connection is gone, and its queue with it."""
        await self.user.broker.close()


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
                await self.run(self.installation.worker(name).run)

    async def run(self, worker: Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]) -> None:
        """Run a worker until the test ends; then it must drain."""
        stop, started = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(worker(stop, started))

        async def end() -> None:
            stop.set()
            async with asyncio.timeout(WITHIN):
                await task

        self.stack.push_async_callback(end)
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
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

    async def look(self) -> None:
        """Look at everything that is due."""
        worker = self.installation.deadlines()
        async with asyncio.timeout(WITHIN):
            while await worker.look():
                pass

    async def advance(self, seconds: float) -> None:
        """Move the time on, then look."""
        self.clock.advance(seconds)
        await self.look()

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


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1} | body).encode()


def _offer(kind: str) -> dict[str, Any]:
    name, _, address = kind.partition(":")
    return {"type": name, "parameters": {"address": address}} if address else {"type": name}


def refused_as(answer: AnyAnswer, code: ErrorCode) -> None:
    """The answer is a refusal with that code."""
    assert isinstance(answer, RefusedV1), answer
    assert answer.code == code, answer
