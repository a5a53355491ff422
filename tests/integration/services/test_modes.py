"""Parallel and hedged deliveries (8.2.2, 8.2.4)."""

from __future__ import annotations

from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.system import WORKERS, System

pytestmark = BOTH


async def test_parallel_starts_every_channel_at_once(system: System) -> None:
    """Both channels get it, the first acknowledgement delivers it, once; a repeat of the request
    tells the same.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    system.provider.default = Say.nothing()
    await shop.send("n1", device.token, mode="parallel")
    first, second = await node.next_delivery(), await system.provider.next_delivery()
    assert (first.delivery, first.channel) == (second.delivery, "websocket")
    assert (first.step, second.step) == (0, 1)
    await node.acknowledge(second)
    await system.events.wait_for("notification.delivered", notification="n1", channel="scripted")
    await node.acknowledge(first)
    assert await shop.story("n1") == ["sent", "sent", "delivered"]
    told = system.events.of("notification.delivered", notification="n1")
    assert len({event.id for event in told}) == 1


async def test_a_hedge_starts_the_next_channel_after_its_head_start(system: System) -> None:
    """Silence for ``hedge_after`` starts the next channel, while the first may still answer."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token, mode="hedged", hedge_after=3)
    first = await node.next_delivery()
    await system.advance(2.9)
    assert system.provider.deliveries == []
    await system.advance(0.1)
    second = await system.provider.next_delivery()
    assert second.delivery == first.delivery
    await node.acknowledge(first)
    await system.events.wait_for("notification.delivered", notification="n1", channel="websocket")


async def test_a_hedge_that_was_acknowledged_goes_no_further(system: System) -> None:
    """The acknowledgement of step 1 within its head start: nothing is ever sent by step 2."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token, mode="hedged", hedge_after=3)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1", by="device")
    await system.advance(60)
    assert system.provider.deliveries == []
    assert await shop.story("n1") == ["sent", "delivered"]


async def test_what_was_handed_over_and_not_submitted_is_not_submitted(
    open_system: OpenSystem,
) -> None:
    """The acknowledgement comes when step 2 is in its worker's queue: the worker looks before it
    submits, and leaves it.
    """
    without = [name for name in WORKERS if name != "scripted"]
    system = await open_system(workers=without, plugin={"cost": 3.0})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token, mode="hedged", hedge_after=3)
    first = await node.next_delivery()
    await system.advance(3)
    assert await shop.story("n1") == ["sent", "sent"]
    await node.acknowledge(first)
    await system.events.wait_for("notification.delivered", notification="n1", channel="websocket")
    await shop.send("n2", device.token, mode="parallel")
    await system.serve("scripted")
    assert (await system.provider.next_delivery()).notification == "n2"
    assert [item.notification for item in system.provider.deliveries] == ["n2"]
    for name, cost in (("n1", 0.0), ("n2", 3.0)):
        (status,) = await shop.status(name)
        hops = [(hop.channel, hop.cost) for hop in status.story if hop.what == "sent"]
        assert hops == [("websocket", None), ("scripted", cost or None)]
        assert status.cost == cost
    told = system.events.of("notification.delivered", notification="n1")
    assert len({event.id for event in told}) == 1


async def test_a_hedge_does_not_wait_for_what_failed(system: System) -> None:
    """A channel that says never: the next one starts at once, its head start notwithstanding."""
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1", "websocket")
    await node.connect(device)
    await shop.send("n1", device.token, mode="hedged", hedge_after=3_600)
    await node.die()
    await shop.send("n2", device.token, mode="hedged", hedge_after=3_600)
    item = await system.provider.next_delivery()
    assert item.notification == "n2"


async def test_what_was_stored_goes_out_as_its_sender_wants(open_system: OpenSystem) -> None:
    """The mode is stored with the notification: a plan that is made when the device is back has it,
    too.
    """
    system = await open_system()
    shop, node = await system.user(), await system.node()
    device = await system.device()
    await shop.send("n1", device.token, mode="parallel")
    await system.events.wait_for("notification.stored", notification="n1")
    system.provider.default = Say.nothing()
    await device.activate("websocket", "scripted:a1")
    await node.connect(device)
    await system.process_due()
    item = await node.next_delivery()
    assert (await system.provider.next_delivery()).delivery == item.delivery
