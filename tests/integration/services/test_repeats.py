"""What comes again late tells the same, and ends nothing that began since."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeItem, OutcomeKind
from aoi_events.ports.broker import Outbound, Subscription
from aoi_events.services.outcome.handler import OutcomeHandler
from aoi_events.testing.scripted import Say
from aoi_events.topology import HINTS, OUTCOME, Binding, Queue, QueueKind, delivery_queue
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.crashes import Replies, die_after_commit, system_without
from tests.support.limits import WITHIN
from tests.support.system import System


async def test_an_old_refusal_does_not_close_a_channel_that_was_activated_since(
    system: System,
) -> None:
    """Duplicates change nothing: a refusal that closed a channel comes again when the client has
    offered the address anew and the delivery went out over it once more.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    other = await system.device("websocket", identity="b")
    await node.connect(other)
    await shop.send("n2", other.token)
    system.provider.script(Say.rejected(closes_channel=True))
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    refused = OutcomeItem(
        delivery=item.delivery,
        kind=OutcomeKind.REJECTED,
        at=system.clock.now(),
        client=item.client,
        channel=item.channel,
        step=item.step,
        attempt=item.attempt,
        closes_channel=True,
    )
    await system.events.wait_for("notification.stored", notification="n1")
    system.clock.advance(5)
    await device.activate("scripted:a1")
    system.clock.advance(5)
    await system.process_due()
    assert (await system.provider.next_delivery()).attempt == 2
    body = OutcomeBatchV1(items=(refused,)).encode()
    await shop.broker.publish([Outbound("", OUTCOME, body)])
    # Outcomes are taken in order, so behind this one the old one is merged.
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n2")
    async with system.installation.store.transaction(read_only=True) as tx:
        (channel,) = (await tx.channels({device.client}))[device.client]
    assert channel.state == "active"


async def test_what_is_said_of_the_old_address_does_not_close_the_new_one(system: System) -> None:
    """A permanent refusal closes that channel; one that comes when the client has another address,
    which needed no proof, says nothing of it.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    system.clock.advance(1)
    await device.activate("scripted:a2")
    at = system.clock.now()
    await node.report(item, OutcomeKind.REJECTED, closes_channel=True, at=at)
    await system.until(lambda: shop.story("n1"), lambda story: "rejected" in story)
    async with system.installation.store.transaction(read_only=True) as tx:
        (channel,) = (await tx.channels({device.client}))[device.client]
    assert (channel.state, channel.parameters) == ("active", {"address": "a2"})


async def test_the_event_of_a_stored_delivery_keeps_its_id(system: System) -> None:
    """A late report on an attempt adds a line to the story; published again, the event *stored* is
    the same as the first time, so that subscribers recognise a repeat.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    await system.advance(31)
    await system.events.wait_for("notification.stored", notification="n1")
    system.clock.advance(1)
    for _ in range(2):
        await node.report(item, OutcomeKind.ROUTE_LOST)
    await system.events.wait_for("notification.stored", notification="n1", count=2)
    assert (await shop.story("n1"))[-1] == "route_lost"
    assert len({told.id for told in system.events.of("notification.stored")}) == 1


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_a_step_that_its_own_batch_made_superfluous_is_not_started(
    open_system: OpenSystem, *, acknowledged: bool
) -> None:
    """The route was lost, and the device acknowledged all the same: taken together, the next step
    is never started.
    """
    system = await open_system(workers=("registration", "activation", "notification"))
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    said = [item.outcome(OutcomeKind.ROUTE_LOST, system.clock.now(), epoch=item.epoch)]
    if acknowledged:
        said.append(item.outcome(OutcomeKind.ACKNOWLEDGED, system.clock.now()))
    found = system.installation
    handler = OutcomeHandler(found.store, found.services, system.clock, system.dice)
    outputs = await handler.handle([OutcomeBatchV1(items=tuple(said))])
    started = [each for each in outputs if each.routing_key == delivery_queue("scripted")]
    assert len(started) == int(not acknowledged)


async def hints(system: System) -> Subscription:
    """What wakes the deadlines workers from now on."""
    broker = await system.connect("watcher-of-hints")
    system.stack.push_async_callback(broker.close)
    queue = Queue("aoi.reply.hints", QueueKind.EXCLUSIVE, bindings=(Binding(HINTS),))
    return await broker.subscribe(queue, prefetch=100)


async def test_a_repeated_request_is_answered_and_does_no_more(system: System) -> None:
    """A sender that asks again, and not because a worker died, gets the same answer: nothing is
    announced twice, and what is stored for the device does not become due by it.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.script(Say.rejected())
    first = await shop.send("n1", device.token)
    await system.events.wait_for("notification.stored", notification="n1")
    (before,) = await system.rows("n1")
    assert await shop.send("n1", device.token) == first
    await shop.send("n2", device.token)
    await system.events.wait_for("notification.accepted", notification="n2")
    assert await system.rows("n1") == [before]
    assert len(system.events.of("notification.accepted", notification="n1")) == 1
    assert len(system.events.of("notification.stored", notification="n1")) == 1


async def test_what_looked_silent_for_want_of_a_publish_is_tried_again(
    open_system: OpenSystem,
) -> None:
    """The worker dies between its commit and the publish of the first step, and the device, which
    was connected all the time, looks silent: the run that comes after makes the delivery due.
    """
    system = await system_without(open_system, "notification")
    node, device = await system.node(), await system.device("websocket")
    await node.connect(device)
    replies = await Replies.of(await system.user())
    await replies.ask(
        "notification.send", notification="n1", tokens=[device.token], content={"data": "x"}
    )
    await die_after_commit(system, "notification")
    await system.advance(31)
    assert [row.state for row in await system.rows("n1")] == ["stored"]
    hinted = await hints(system)
    await system.serve("notification")
    await replies.next()
    async with asyncio.timeout(WITHIN):
        await hinted.take(1)
    await system.process_due()
    assert (await node.next_delivery()).attempt == 2


async def test_a_replaced_notification_wakes_the_deadlines_workers(system: System) -> None:
    """The end of the older one may let others follow, so a hint replaces the wait for the next
    poll.
    """
    shop, device = await system.user(), await system.device()
    await shop.send("n1", device.token, topic="score")
    hinted = await hints(system)
    await shop.send("n2", device.token, topic="score")
    async with asyncio.timeout(WITHIN):
        assert len(await hinted.take(1)) == 1
    await system.process_due()
    await system.events.wait_for("notification.replaced", notification="n1")
