"""Topics: a newer notification replaces what was not delivered yet (RFC 8030, section 5.4)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.system import System

on_postgresql = pytest.mark.parametrize("backend", ["memory+postgresql"], indirect=True)


@BOTH
async def test_a_topic_replaces_what_waits(system: System) -> None:
    """What is stored is replaced, an event says so, and only the newer one is delivered."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token, topic="score")
    await shop.send("n2", device.token, data="2:1", topic="score")
    await system.process_due()
    told = await system.events.wait_for("notification.replaced", notification="n1")
    assert told.data.state is DeliveryState.REPLACED  # type: ignore[union-attr]
    await node.connect(device)
    await system.process_due()
    item = await node.next_delivery()
    assert (item.notification, item.content.data) == ("n2", "2:1")
    assert node.items.empty()
    (first,) = await shop.status("n1")
    assert (first.state, [hop.what for hop in first.story]) == ("replaced", ["stored", "replaced"])


async def test_a_topic_is_of_one_sender_and_token(system: System) -> None:
    """Another sender's, another token's and another topic's notifications stay."""
    shop, bank = await system.user("shop"), await system.user("bank")
    device = await system.device(apps=("a", "b"))
    one, two = device.tokens.values()
    await shop.send("n1", one, two, topic="score")
    await shop.send("n2", one, topic="news")
    await shop.send("n3", one)
    await bank.send("n1", one, topic="score")
    await shop.send("n4", one, topic="score")
    rows = [*await system.rows("n1", "n2", "n3", "n4"), *await system.rows("n1", sender="bank")]
    assert Counter(row.state.value for row in rows) == {"stored": 5, "replaced": 1}


async def test_a_late_acknowledgement_of_what_was_replaced_is_the_truth(system: System) -> None:
    """Promise: the only terminal change is to delivered, and its event says what it supersedes."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token, topic="score")
    first = await node.next_delivery()
    await shop.send("n2", device.token, topic="score")
    await system.process_due()
    await system.events.wait_for("notification.replaced", notification="n1")
    await node.acknowledge(first)
    late = await system.events.wait_for("notification.delivered", notification="n1")
    assert late.data.supersedes is DeliveryState.REPLACED  # type: ignore[union-attr]
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n2")


async def test_what_was_delivered_is_not_replaced(system: System) -> None:
    """RFC 8030, 5.4: an undelivered message is replaced, a delivered one has arrived."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token, topic="score")
    await node.report(await node.next_delivery(), OutcomeKind.ACKNOWLEDGED)
    await system.events.wait_for("notification.delivered", notification="n1")
    await shop.send("n2", device.token, topic="score")
    assert [row.state for row in await system.rows("n1")] == ["delivered"]


async def test_a_repeat_replaces_nothing(system: System) -> None:
    """The same request again is answered from the rows: it does not push aside what is newer."""
    shop = await system.user()
    device = await system.device()
    first = await shop.send("n1", device.token, topic="score")
    await shop.send("n2", device.token, topic="score")
    assert await shop.send("n1", device.token, topic="score") == first
    assert [row.state for row in await system.rows("n1", "n2")] == ["replaced", "stored"]


async def test_a_full_backlog_has_room_for_the_newer_of_a_topic(open_system: OpenSystem) -> None:
    """What takes an older one's place does not count against the backlog."""
    system = await open_system(policy={"backlog": 1})
    shop = await system.user()
    device = await system.device()
    for number in range(3):
        await shop.send(f"n{number}", device.token, topic="score")
    states = [row.state for row in await system.rows("n0", "n1", "n2")]
    assert states == ["replaced", "replaced", "stored"]


async def test_a_replaced_one_ends_its_batch(open_system: OpenSystem) -> None:
    """The last of a released batch is replaced: the next batch becomes due all the same."""
    system = await open_system(policy={"release": 1})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token, topic="score")
    await shop.send("n2", device.token)
    await node.connect(device)
    await shop.send("n3", device.token, topic="score")
    arrived: list[str] = []
    while set(arrived) < {"n2", "n3"}:
        await system.process_due()
        item = await node.next_delivery()
        arrived.append(item.notification)
        await node.acknowledge(item)
        await system.events.wait_for("notification.delivered", notification=item.notification)


@on_postgresql
async def test_workers_that_accept_one_topic_at_once_leave_one_open(system: System) -> None:
    """Two copies of the worker, many senders' requests at once: one delivery is open at the end,
    all others are replaced, each with one event.
    """
    await system.serve("notification")
    shop = await system.user()
    devices = [await system.device(identity=f"tel:+1555{number}") for number in range(3)]
    tokens = [device.token for device in devices]
    names = [f"n{number:03}" for number in range(60)]
    await asyncio.gather(*(shop.send(name, *tokens, topic="score") for name in names))
    rows = await system.rows(*names)
    open_ones = [row for row in rows if not row.state.terminal]
    assert Counter(row.client for row in open_ones) == {device.client: 1 for device in devices}
    assert Counter(row.state.value for row in rows) == {"stored": 3, "replaced": 177}
    for row in open_ones:
        assert row.order == max(each.order for each in rows if each.client == row.client)
    await system.process_due()
    await system.events.wait_for("notification.replaced", count=177)
