"""Metrics count each committed change once, whichever process dies and whatever is
published again.
"""

from __future__ import annotations

import asyncio

from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.outcome.handler import OutcomeHandler
from aoi_events.topology import worker_queue
from tests.integration.services.conftest import OpenSystem
from tests.support.counts import counted, value
from tests.support.limits import WITHIN
from tests.support.system import WORKERS, System

Handlers = type[NotificationHandler] | type[OutcomeHandler]


async def die_after_commit(system: System, kind: Handlers) -> None:
    """A worker that counts into the same metrics commits, and dies before it publishes."""
    found = system.installation
    doomed = kind(found.store, found.services, system.clock, system.dice, found.metrics)
    broker = await system.connect("aoi")
    subscription = await broker.subscribe(worker_queue(doomed.queue)[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await subscription.take(1)
    read: object = doomed.read(message)
    await doomed.handle([read])  # type: ignore[list-item]
    await broker.close()


async def test_a_run_that_died_and_its_repeat_count_once(open_system: OpenSystem) -> None:
    """Acceptance and end are each committed by a run that dies, and published again by the next
    run: both count once.
    """
    some = [name for name in WORKERS if name not in ("notification", "outcome")]
    system = await open_system(workers=some)
    found = system.installation
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    sending = asyncio.create_task(shop.send("n1", device.token))
    await die_after_commit(system, NotificationHandler)
    await counted(found.metrics, 1, "aoi_deliveries_accepted_total")
    await system.serve("notification")
    await sending
    await node.acknowledge(await node.next_delivery())
    await die_after_commit(system, OutcomeHandler)
    await system.serve("outcome")
    await system.events.wait_for("notification.delivered", notification="n1")
    await counted(found.metrics, 1, "aoi_deliveries_accepted_total")
    labels = {"state": "delivered", "channel": "websocket", "reason": "none", "by": "device"}
    await counted(found.metrics, 1, "aoi_deliveries_settled_total", **labels)
    await counted(found.metrics, 1, "aoi_delivery_delivered_seconds_count", channel="websocket")


async def test_a_late_acknowledgement_supersedes(open_system: OpenSystem) -> None:
    """What expired and was acknowledged after all counts as both, and as superseded."""
    system = await open_system()
    found = system.installation
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token, ttl=5)
    item = await node.next_delivery()
    await system.advance(6)
    await system.events.wait_for("notification.expired", notification="n1")
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1")
    await counted(found.metrics, 1, "aoi_deliveries_superseded_total", state="expired")
    assert value(found.metrics, "aoi_deadlines_due_total", kind="delivery") >= 1


async def test_cancelled_and_replaced(open_system: OpenSystem) -> None:
    """Ends that senders bring about are counted, each once, also when it is asked again."""
    system = await open_system()
    found = system.installation
    shop = await system.user()
    device = await system.device("websocket")
    await shop.send("n1", device.token, topic="score")
    await shop.send("n2", device.token, topic="score")
    for _ in range(2):
        await shop.ask("notification.cancel", notification="n2")
    for state in ("replaced", "cancelled"):
        labels = {"state": state, "channel": "none", "by": "none"}
        await counted(found.metrics, 1, "aoi_deliveries_settled_total", **labels)
    await counted(found.metrics, 2, "aoi_requests_total", request="notification.cancel", code="ok")
