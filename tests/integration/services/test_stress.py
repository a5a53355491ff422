"""Everything at once on PostgreSQL: two copies of every worker, and no order among the devices."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from sqlalchemy import text

from aoi_events.contracts.answers import ClientRegisteredV1
from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.contracts.events import DeliveryChanged
from aoi_events.store.store import SqlStore
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import OpenSystem
from tests.support.actors import Device, Node, secret_and_hash
from tests.support.containers import in_containers
from tests.support.system import WORKERS, System

pytestmark = pytest.mark.parametrize(
    "backend",
    [in_containers("memory+postgresql"), in_containers("rabbitmq+postgresql")],
    indirect=True,
)

DEVICES, ROUNDS, APPS = 8, 12, 3
TTL = 60


class Life:
    """What one device and those who send to it do, drawn by lot; ``seed`` repeats it."""

    def __init__(self, system: System, node: Node, device: Device, seed: int) -> None:
        self.system = system
        self.node = node
        self.device = device
        self.lot = random.Random(seed)
        self.seed = seed
        self.sent: list[str] = []
        self.everybody: list[Device] = []

    async def live(self) -> None:
        """Do one thing after the other."""
        for number in range(ROUNDS):
            act = self.lot.choice(
                (self.send,) * 3
                + (self.connect,) * 2
                + (self.register, self.activate, self.cancel, self.leave, self.change_hands)
            )
            await act(number)

    async def send(self, number: int) -> None:
        """To some of all apps of all devices."""
        tokens = [token for each in self.everybody for token in each.tokens.values()]
        chosen = self.lot.sample(tokens, k=min(len(tokens), self.lot.randint(1, 8)))
        self.sent.append(f"n{self.seed}-{number}")
        shop = await self.system.user()
        await shop.send(self.sent[-1], *chosen, ttl=TTL)

    async def connect(self, number: int) -> None:
        """Over a new session."""
        await self.node.connect(self.device, f"s{self.seed}x{number}")

    async def register(self, number: int) -> None:
        """An app starts."""
        await self.device.register_app(self.lot.choice(list(self.device.tokens)))

    async def activate(self, number: int) -> None:
        """Another set of channels."""
        await self.device.activate(
            *self.lot.choice([("websocket",), ("websocket", f"scripted:{self.seed}")])
        )

    async def cancel(self, number: int) -> None:
        """Something that was sent."""
        if self.sent:
            shop = await self.system.user()
            await shop.ask("notification.cancel", notification=self.lot.choice(self.sent))

    async def leave(self, number: int) -> None:
        """An app goes, and comes again."""
        name = self.lot.choice(list(self.device.tokens))
        body = {"application": name, "sequence": self.device.next()}
        await self.device.ask("application.deregister", **body)
        await self.device.register_app(name)

    async def change_hands(self, number: int) -> None:
        """Another user has the device now."""
        device = self.device
        secret, hashed = secret_and_hash()
        identity = f"user {self.seed}-{number}"
        answer = await device.user.ask(
            "client.register",
            device="phone",
            identity=identity,
            secret_hash=hashed,
            previous=device.proof,
        )
        assert isinstance(answer, ClientRegisteredV1), answer
        device.client, device.secret, device.identity = answer.client, secret, identity
        device.sequence = 0
        for name in list(device.tokens):
            await device.register_app(name)
        await device.activate("websocket")


async def react(node: Node, lot: random.Random) -> None:
    """Devices answer what they get, or lose it, or say so late; for ever."""
    late: list[DeliverItem] = []
    while True:
        item = await node.items.get()
        if not isinstance(item, DeliverItem):
            continue
        match lot.randrange(8):
            case 0:
                late.append(item)
            case 1:
                await node.report(item, OutcomeKind.ROUTE_LOST, epoch=item.epoch)
            case 2:
                await node.report(item, OutcomeKind.COULD_NOT_WAKE, at=item.expires_at)
            case 3:
                await node.report(item, OutcomeKind.REFUSED, retry_after=2)
            case _:
                await node.acknowledge(item)
        if len(late) > 3:
            await node.acknowledge(late.pop(lot.randrange(len(late))))


async def move_time(system: System) -> None:
    """Seconds pass; for ever."""
    while True:
        await system.clock.somebody_sleeps()
        system.clock.advance(0.5)
        await asyncio.sleep(0)


@pytest.mark.timeout(600)
async def test_every_delivery_ends_once_and_nobody_blocks_anybody(open_system: OpenSystem) -> None:
    """Promise: every accepted delivery ends in exactly one terminal state; locks are taken in one
    order, so PostgreSQL finds no deadlock.
    """
    system = await open_system(
        workers=(*WORKERS, *WORKERS), store_pool=12, policy={"release": 3, "retry_first": 0.5}
    )
    for _ in range(2):
        await system.run(system.installation.deadlines().run)
    system.provider.default = Say.accepted()
    node, _ = await system.node(), await system.user()
    apps = [f"app{number}" for number in range(APPS)]
    devices = [await system.device("websocket", apps=apps) for _ in range(DEVICES)]
    lives = [Life(system, node, device, seed) for seed, device in enumerate(devices)]
    for life in lives:
        life.everybody = devices
    beside = [
        asyncio.ensure_future(react(node, random.Random(99))),
        asyncio.ensure_future(move_time(system)),
    ]
    try:
        await asyncio.gather(*(life.live() for life in lives))
        names = [name for life in lives for name in life.sent]
        rows = await system.until(
            lambda: system.rows(*names),
            lambda rows: all(row.state.terminal and row.published for row in rows),
        )
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    assert len(rows) > DEVICES * 4
    for row in rows:
        await system.events.wait_for(f"notification.{row.state}", delivery=row.id)
    ends = {
        (event.id, event.data.delivery)
        for _, event in system.events.seen
        if isinstance(event.data, DeliveryChanged)
        and event.data.state.terminal
        and event.data.supersedes is None
    }
    assert set(Counter(delivery for _, delivery in ends).values()) == {1}
    assert await system.parked() == []
    assert await deadlocks(system) == 0


async def deadlocks(system: System) -> int:
    """How many PostgreSQL found in this database."""
    store = system.installation.store
    assert isinstance(store, SqlStore)
    async with store.transaction(read_only=True) as tx:
        found = await tx._run(
            text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        )
        return int(found.scalar_one())
