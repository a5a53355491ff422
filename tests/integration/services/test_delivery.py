"""Deliveries over channels that fall back on each other (8.1.4, 8.2.4; design, section 4)."""

from __future__ import annotations

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH
from tests.integration.services.harness import System

pytestmark = BOTH


async def test_a_connected_device_gets_it_and_acknowledges(system: System) -> None:
    """8.2.4: a connected device is reached over its connection, and its acknowledgement settles."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)

    accepted = await shop.send("n1", device.token)
    item = await node.next_delivery()
    assert (item.delivery, item.token) == (accepted.deliveries[0].delivery, device.token)
    assert item.content.data == "hello"
    await node.acknowledge(item)

    event = await system.events.wait_for("notification.delivered", notification="n1", by="device")
    assert event.data.channel == "websocket"  # type: ignore[union-attr]
    assert await shop.story("n1") == ["sent", "delivered"]


async def test_silence_of_a_cut_connection_starts_the_fallback(system: System) -> None:
    """8.2.2: a connection that is cut without a word never says "failed", the deadline does; the
    connectionless channel then takes over without a new activation.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.next_delivery()

    await system.advance(31)
    item = await system.provider.next_delivery()
    assert item.parameters == {"address": "a1"}
    await node.acknowledge(item)

    await system.events.wait_for("notification.delivered", notification="n1", channel="scripted")
    story = [what for what in await shop.story("n1") if what != "accepted"]
    assert story == ["sent", "not acknowledged", "sent", "delivered"]


async def test_a_gateway_that_is_gone_costs_no_time(system: System) -> None:
    """Section 5: a returned publish is *route lost*, which ends that presence and starts the next
    step at once.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await node.die()

    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    (row,) = await system.rows("n1")
    assert row.steps[0].over == "route_lost"
    async with system.installation.store.transaction(read_only=True) as tx:
        assert (await tx.clients({device.client}))[device.client].presence is None
