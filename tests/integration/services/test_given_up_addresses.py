"""A message waits for its channel worker, and its address is given up meanwhile."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest

from aoi_events.channels.sms.plugin import SmsPlugin
from aoi_events.channels.webhook.plugin import WebhookPlugin
from aoi_events.channels.webpush.plugin import WebPushPlugin
from aoi_events.channels.webpush.vapid import new_key
from aoi_events.contracts.answers import ChannelsActivatedV1
from aoi_events.contracts.envelopes import DeliverItem, DeliveryBatchV1
from aoi_events.domain.clients.channels import ProofState
from aoi_events.domain.clients.proofs import challenge_code
from aoi_events.ports.broker import Broker, Outbound
from aoi_events.ports.channel import ChannelPlugin, OfferParameters
from aoi_events.ports.clock import Clock
from aoi_events.services.channel.submissions import Work
from aoi_events.testing import LoopbackSmsc
from aoi_events.testing.scripted import ADDRESS
from aoi_events.topology import delivery_queue, worker_queue
from tests.integration.services.conftest import OpenSystem
from tests.support.actors import Device
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver, Subscription
from tests.support.system import WORKERS, System

OLD, NEW = "old", "new"
WITHOUT_THE_CHANNEL = [name for name in WORKERS if name != "scripted"]

ON_LOOPBACK: Final[Mapping[str, object]] = {
    "enabled": True,
    "allow_http": True,
    "networks": ["127.0.0.0/8"],
    "ports": [],
}

GiveUp = Callable[[System, Device], Awaitable[None]]


async def prove(system: System, device: Device, address: str) -> None:
    """Offer the address and prove it, though no worker sends its challenge."""
    await prove_offer(system, device, "scripted", {ADDRESS: address})


async def prove_offer(
    system: System, device: Device, kind: str, parameters: OfferParameters
) -> None:
    """The same on a channel of any kind."""
    await device.activate(offers=[{"type": kind, "parameters": parameters}])
    async with system.installation.store.transaction(read_only=True) as tx:
        proofs = (await tx.proofs({device.client}))[device.client]
    (proof,) = [each for each in proofs if each.state is ProofState.OPEN]
    code = challenge_code(system.installation.services.challenge_key, proof)
    answer = await device.ask("channel.confirm", channel=kind, code=code)
    assert isinstance(answer, ChannelsActivatedV1), answer


async def deactivate(system: System, device: Device) -> None:
    """The client deactivates the channel."""
    await device.ask("channel.deactivate", channels=["scripted"], sequence=device.next())


async def leave_out(system: System, device: Device) -> None:
    """The client activates other channels only."""
    await device.activate("websocket")


async def move(system: System, device: Device) -> None:
    """The client activates the channel with another address, and proves it."""
    await prove(system, device, NEW)


async def claim_another(system: System, device: Device) -> None:
    """The client activates the channel with another address, which is not proved yet."""
    await device.activate(f"scripted:{NEW}")


async def lose(system: System, device: Device) -> None:
    """Another client proves the address."""
    await prove(system, await system.device(identity="tel:+15550199"), OLD)


async def lose_and_claim(system: System, device: Device) -> None:
    """Another client proves the address, and this one offers it again."""
    await lose(system, device)
    await device.activate(f"scripted:{OLD}")


async def deregister(system: System, device: Device) -> None:
    """The client ends."""
    await device.ask("client.deregister")


async def retire_only(system: System, device: Device) -> None:
    """The client's row ends, and the rows of its channels are still there."""
    async with system.installation.store.transaction() as tx:
        row = (await tx.clients({device.client}))[device.client]
        await tx.save_clients([replace(row, retired_at=system.clock.now())])


WAYS = [deactivate, leave_out, move, claim_another, lose, lose_and_claim, deregister, retire_only]


@pytest.fixture
async def system(open_system: OpenSystem) -> System:
    """Every worker but that of the channel, whose addresses must be proved."""
    return await open_system(workers=WITHOUT_THE_CHANNEL, plugin={"needs_proof": True})


async def serve(system: System) -> list[Work]:
    """Start the channel worker; what it hands over of all that waited for it."""
    await system.serve("scripted")
    return await handed_over(system)


async def handed_over(system: System) -> list[Work]:
    """What the channel worker hands over of all that was sent before."""
    last = await system.device(identity="tel:+15550111")
    await prove(system, last, "another")
    await (await system.user()).send("last", last.token)
    # The queue is handled in order: all that was sent before is decided once this one went out.
    while getattr(await system.provider.next(within=WITHIN), "notification", None) != "last":
        continue
    return [item for item in system.provider.taken if item.client != last.client]


@pytest.mark.parametrize("give_up", WAYS)
async def test_nothing_goes_to_it(system: System, give_up: GiveUp) -> None:
    """Promise (no borrowed addresses): no delivery that waits for a channel worker goes to an
    address that its client gave up, lost, or was retired with; no challenge, unless the client
    offers the address again.
    """
    device = await system.device()
    await prove(system, device, OLD)
    await (await system.user()).send("n1", device.token)
    await give_up(system, device)
    taken = [item for item in await serve(system) if item.client == device.client]
    there = [item for item in taken if item.parameters[ADDRESS] == OLD]
    assert not any(isinstance(item, DeliverItem) for item in there)
    assert bool(there) == (give_up is lose_and_claim)


@pytest.mark.parametrize("give_up", WAYS)
async def test_nothing_goes_to_it_after_a_wait_for_room(
    open_system: OpenSystem, give_up: GiveUp
) -> None:
    """Promise (no borrowed addresses): no delivery that waits in its channel worker, because the
    provider has not answered as much as it takes at once, goes to an address that was given up.
    """
    system = await open_system(
        workers=WITHOUT_THE_CHANNEL, plugin={"needs_proof": True, "at_once": 1}
    )
    device = await system.device()
    await prove(system, device, OLD)
    await (await system.user()).send("n1", device.token)
    system.provider.answers.clear()
    await system.serve("scripted")
    await system.provider.next_challenge()  # it came in one batch with the delivery
    await give_up(system, device)
    system.provider.answers.set()
    taken = [item for item in await handed_over(system) if item.client == device.client]
    assert OLD not in [item.parameters[ADDRESS] for item in taken if isinstance(item, DeliverItem)]


@pytest.mark.parametrize("give_up", [deactivate, leave_out, claim_another, lose, lose_and_claim])
async def test_its_step_has_lost_its_way(system: System, give_up: GiveUp) -> None:
    """A step whose address was given up has failed, and no time-out is waited for: the delivery is
    stored for what the client activates next.
    """
    shop, device = await system.user(), await system.device()
    await prove(system, device, OLD)
    await shop.send("n1", device.token)
    await give_up(system, device)
    await serve(system)
    await system.events.wait_for("notification.stored", notification="n1")
    assert "route_lost" in await shop.story("n1")


async def test_it_goes_to_the_new_address(system: System) -> None:
    """What waited for the old address goes to the one that was proved since."""
    shop, device = await system.user(), await system.device()
    await prove(system, device, OLD)
    await shop.send("n1", device.token)
    await move(system, device)
    await serve(system)
    await system.until(lambda: shop.story("n1"), lambda story: "route_lost" in story)
    await system.process_due()
    while not (
        mine := [item for item in system.provider.deliveries if item.client == device.client]
    ):
        await system.provider.next(within=WITHIN)
    assert [(item.notification, item.parameters[ADDRESS]) for item in mine] == [("n1", NEW)]


@dataclass(frozen=True)
class Outside:
    """The other side of a channel: two addresses there, and which of them were reached."""

    plugin: Callable[[Clock], ChannelPlugin]
    settings: Mapping[str, object]
    old: OfferParameters
    new: OfferParameters
    reached: Callable[[], Sequence[str]]


@asynccontextmanager
async def sms() -> AsyncIterator[Outside]:
    """An SMSC and two numbers."""
    numbers = ("+31600000001", "+31600000002")
    async with LoopbackSmsc() as smsc:
        old, new = ({"msisdn": number} for number in numbers)
        settings = {"host": smsc.host, "port": smsc.port}

        def reached() -> list[str]:
            return [(OLD, NEW)[numbers.index(message.number)] for message in smsc.submissions]

        yield Outside(SmsPlugin, settings, old, new, reached)


@asynccontextmanager
async def webhook() -> AsyncIterator[Outside]:
    """Two URLs of a receiver."""
    key = base64.b64encode(bytes(32)).decode()
    async with Receiver() as receiver:
        old, new = ({"url": receiver.url(f"/{name}")} for name in (OLD, NEW))

        def plugin(clock: Clock) -> ChannelPlugin:
            return WebhookPlugin(clock=clock)

        yield Outside(plugin, {**ON_LOOPBACK, "signing_key": key}, old, new, _paths(receiver))


@asynccontextmanager
async def webpush() -> AsyncIterator[Outside]:
    """Two subscriptions at a push service."""
    private, _ = new_key()
    vapid = {"private_key": private, "contact": "mailto:ops@example.org"}
    async with Receiver() as receiver:
        old, new = (Subscription().parameters(receiver.url(f"/{name}")) for name in (OLD, NEW))

        def plugin(clock: Clock) -> ChannelPlugin:
            return WebPushPlugin(clock=clock)

        yield Outside(plugin, {**ON_LOOPBACK, **vapid}, old, new, _paths(receiver))


def _paths(receiver: Receiver) -> Callable[[], list[str]]:
    return lambda: [got.path.removeprefix("/") for got in receiver.got]


@pytest.mark.parametrize("outside", [sms, webhook, webpush])
async def test_every_channel_goes_to_the_new_address_only(
    open_system: OpenSystem, outside: Callable[[], AbstractAsyncContextManager[Outside]]
) -> None:
    """Promise (no borrowed addresses): what waited for the old address goes to the one that was
    proved since, by SMS, webhook and Web Push alike.
    """
    async with outside() as there:
        kind = outside.__name__
        system = await open_system(
            workers=WITHOUT_THE_CHANNEL, beside=there.plugin, channels={kind: there.settings}
        )
        shop, device = await system.user(), await system.device()
        await prove_offer(system, device, kind, there.old)
        await shop.send("n1", device.token)
        await prove_offer(system, device, kind, there.new)
        await system.serve(kind)
        await system.until(lambda: shop.story("n1"), lambda story: "route_lost" in story)
        await system.process_due()
        await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
        assert set(there.reached()) == {NEW}


async def test_a_delivery_goes_to_its_own_client_only(system: System) -> None:
    """An envelope that names another client than the delivery's row submits nothing, though that
    client receives at the address.
    """
    shop, device = await system.user(), await system.device()
    await prove(system, device, OLD)
    other = await system.device(identity="tel:+15550122")
    await prove(system, other, NEW)
    broker = await system.connect("aoi")
    await shop.send("n1", device.token)
    async with asyncio.timeout(WITHIN):
        item = await _delivery(broker)
    changed = item.model_copy(update={"client": other.client, "parameters": {ADDRESS: NEW}})
    envelope = DeliveryBatchV1(items=(changed,)).encode()
    await broker.publish([Outbound("", delivery_queue("scripted"), envelope)])
    await broker.close()
    await serve(system)
    assert [each.notification for each in system.provider.deliveries] == ["last"]


async def _delivery(broker: Broker) -> DeliverItem:
    """The first delivery that waits; it waits no more."""
    waiting = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=10)
    while True:
        messages = await waiting.take(10)
        await waiting.ack(messages)
        for message in messages:
            for item in DeliveryBatchV1.decode(message.body).items:
                if isinstance(item, DeliverItem):
                    return item
