"""Storing a delivery and the device's return: both lock the client's row, so neither misses the
other. Each test stops one of them before its commit, and looks who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.domain.clients.channels import Channel, ChannelState, Parameters
from aoi_events.domain.clients.client import Client, Presence
from aoi_events.domain.notifications import Notification
from aoi_events.ports.store import Lock, Transaction
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.locks import somebody_waits
from tests.support.actors import Device, Node, User
from tests.support.limits import WITHIN
from tests.support.system import System

pytestmark = pytest.mark.parametrize("backend", ["memory+postgresql"], indirect=True)


@dataclass
class Scene:
    """A device with a connection to come and an address to prove, and who sends to it."""

    system: System
    shop: User
    node: Node
    device: Device
    code: str
    item: DeliverItem | None = None

    async def sent(self) -> DeliverItem:
        """The delivery under way over the first session, as the node got it."""
        await self.node.connect(self.device, "s1")
        await self.shop.send("n1", self.device.token)
        self.item = await self.node.next_delivery()
        return self.item


@pytest.fixture
async def scene(open_system: OpenSystem) -> Scene:
    """The scene on PostgreSQL, with room for those who wait."""
    system = await open_system(plugin={"needs_proof": True}, store_pool=8)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    challenge = await system.provider.next_challenge()
    return Scene(system, shop, node, device, challenge.code)


# -- who comes back -----------------------------------------------------------------------------


async def connects(scene: Scene) -> None:
    """Over a new session."""
    await scene.node.connect(scene.device, "s2")


async def activates(scene: Scene) -> None:
    """With its channels."""
    await scene.device.activate("websocket")


async def confirms(scene: Scene) -> None:
    """With the proof of an address."""
    await scene.device.ask("channel.confirm", channel="scripted", code=scene.code)


async def starts_an_app(scene: Scene) -> None:
    """An app starts."""
    await scene.device.register_app()


# -- who stores, stopped between its plan and its commit ------------------------------------------


class _Undone(Exception):
    """Rolls the test's own transaction back."""


@asynccontextmanager
async def accepting(scene: Scene) -> AsyncIterator[None]:
    """The notification worker has planned in vain, and waits to insert the notification."""
    now = scene.system.clock.now()
    same = Notification("shop", "n1", "", now, now)
    with suppress(_Undone):
        async with scene.system.installation.store.transaction() as tx:
            await tx.add_notifications([same])
            sending = asyncio.ensure_future(scene.shop.send("n1", scene.device.token))
            await somebody_waits(scene.system)
            yield
            raise _Undone
    await sending


@asynccontextmanager
async def merging(scene: Scene) -> AsyncIterator[None]:
    """The outcome worker received *could not wake*, and waits for the delivery."""
    item = await scene.sent()
    scene.system.clock.advance(1)
    async with scene.system.installation.store.transaction() as tx:
        await tx.deliveries({item.delivery}, Lock.EXCLUSIVE)
        at = scene.system.clock.now()
        await scene.node.report(item, OutcomeKind.COULD_NOT_WAKE, at=at)
        await somebody_waits(scene.system)
        yield
    await scene.system.events.wait_for("notification.stored", notification="n1")


@asynccontextmanager
async def timing_out(scene: Scene) -> AsyncIterator[None]:
    """The deadlines worker found the acknowledgement overdue, and waits for the delivery."""
    item = await scene.sent()
    scene.system.clock.advance(31)
    store = scene.system.installation.store
    async with store.transaction() as later:
        async with store.transaction() as first:
            # What it locks once it has claimed what is due.
            await first.clients({item.client}, Lock.EXCLUSIVE)
            looking = asyncio.ensure_future(scene.system.installation.deadlines().process_due())
            await somebody_waits(scene.system)
            await later.deliveries({item.delivery}, Lock.EXCLUSIVE)
        await somebody_waits(scene.system)
        yield
    await looking


@pytest.mark.parametrize("returns", [connects, activates, confirms, starts_an_app])
@pytest.mark.parametrize("stores", [accepting, merging, timing_out])
async def test_who_comes_back_before_the_commit_waits_and_is_served(
    scene: Scene,
    stores: Callable[[Scene], AbstractAsyncContextManager[None]],
    returns: Callable[[Scene], Awaitable[None]],
) -> None:
    """A device that comes back while its delivery is being stored waits for the client's row, and
    then makes due what was stored.
    """
    async with stores(scene):
        returning = asyncio.ensure_future(returns(scene))
        await somebody_waits(scene.system, count=2)
    async with asyncio.timeout(WITHIN):
        await returning
    (row,) = await scene.system.rows("n1")
    assert (row.state, row.released) == ("stored", True)
    await scene.system.process_due()
    (row,) = await scene.system.rows("n1")
    unreachable = stores is accepting and returns in (activates, starts_an_app)
    assert (row.state, row.released) == ("stored" if unreachable else "sending", False)


# -- who comes back, stopped before its commit ----------------------------------------------------


async def connecting(tx: Transaction, client: Client) -> None:
    """What a new session writes."""
    await tx.save_clients([replace(client, presence=Presence("gw-1", "s2"))])


async def proving(tx: Transaction, client: Client) -> None:
    """What the proof of an address writes."""
    await tx.save_clients([client])
    address: Parameters = {"address": "a1"}
    row = Channel(client.id, "scripted", ChannelState.ACTIVE, 1, address, address="a1")
    await tx.save_channels([row])


async def accept(scene: Scene) -> None:
    """The notification worker plans, and is done."""
    await scene.shop.send("n1", scene.device.token)


async def merge(scene: Scene) -> None:
    """The outcome worker receives *could not wake*, and finishes."""
    assert scene.item is not None
    at = scene.system.clock.now()
    await scene.node.report(scene.item, OutcomeKind.COULD_NOT_WAKE, at=at)
    await scene.system.events.wait_for("notification.stored", notification="n1")


async def look(scene: Scene) -> None:
    """The deadlines worker finds the acknowledgement overdue, and is done."""
    await scene.system.installation.deadlines().process_due()


@pytest.mark.parametrize("write", [connecting, proving])
@pytest.mark.parametrize("stores", [accept, merge, look])
async def test_who_stores_while_somebody_comes_back_waits_and_sees_it(
    scene: Scene,
    stores: Callable[[Scene], Awaitable[None]],
    write: Callable[[Transaction, Client], Awaitable[None]],
) -> None:
    """Who would store a delivery waits for the client's row while the device comes back, and then
    sees that it is back.
    """
    if stores is not accept:
        await scene.sent()
        scene.system.clock.advance(31)
    id_, now = scene.device.client, scene.system.clock.now()
    async with scene.system.installation.store.transaction() as tx:
        (client,) = (await tx.clients({id_}, Lock.EXCLUSIVE)).values()
        await write(tx, client.returned(now))
        storing = asyncio.ensure_future(stores(scene))
        await somebody_waits(scene.system)
    async with asyncio.timeout(WITHIN):
        await storing
    (row,) = await scene.system.rows("n1")
    assert (row.state, row.released) == (
        ("sending", False) if stores is accept else ("stored", True)
    )
