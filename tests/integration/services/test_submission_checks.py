"""What a channel worker looks at before it hands a step to its provider."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aoi_events.contracts.envelopes import DeliverItem, DeliveryBatchV1
from aoi_events.services.channel.handler import ProviderHandler
from aoi_events.services.channel.submissions import Submissions
from aoi_events.topology import delivery_queue, worker_queue
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.crashes import system_without
from tests.integration.services.test_statements import statements
from tests.support.actors import secret_and_hash
from tests.support.limits import WITHIN
from tests.support.system import System


async def waiting(system: System) -> DeliverItem:
    """The only step that waits for the channel's worker."""
    (item,) = await all_waiting(system)
    return item


async def all_waiting(system: System) -> list[DeliverItem]:
    """The steps in the envelope that waits for the channel's worker."""
    broker = await system.connect("aoi")
    source = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await source.take(1)
    await broker.close()
    items = DeliveryBatchV1.decode(message.body).items
    return [item for item in items if isinstance(item, DeliverItem)]


async def submitted(system: System, *items: DeliverItem) -> Sequence[str]:
    """The deliveries that a worker hands to the provider, of an envelope with these items."""
    found = system.installation
    channel: Any = await system.plugin.connect(None)
    submissions = Submissions("scripted", channel, found.store, found.broker, system.clock)
    handler = ProviderHandler("scripted", submissions, found.store, system.clock)
    await handler.handle([DeliveryBatchV1(items=items)])
    await submissions.drain()
    return [item.delivery for item in system.provider.deliveries]


async def test_a_step_that_stands_twice_in_a_batch_is_submitted_once(
    open_system: OpenSystem,
) -> None:
    """A step that was published twice may come twice in one batch."""
    system = await system_without(open_system, "scripted")
    device = await system.device("scripted:a1")
    await (await system.user()).send("n1", device.token)
    item = await waiting(system)
    assert await submitted(system, item, item) == [item.delivery]


async def test_a_batch_that_has_room_is_noted_in_one_statement(
    open_system: OpenSystem,
) -> None:
    """Items wait for room in parts, and each part is noted: a batch that has room is one part."""
    system = await system_without(open_system, "scripted")
    apps = [f"org.app{number}" for number in range(30)]
    device = await system.device("scripted:a1", apps=apps)
    await (await system.user()).send("n1", *device.tokens.values())
    items = await all_waiting(system)
    with statements(system) as seen:
        assert len(await submitted(system, *items)) == len(apps)
    assert sum("INSERT INTO submissions" in statement for statement in seen) == 1


async def test_a_step_for_a_retired_client_is_not_submitted(open_system: OpenSystem) -> None:
    """The client's user changed while the step waited, and the delivery is not settled yet: the
    earlier user's notification is not sent.
    """
    system = await system_without(open_system, "scripted")
    device = await system.device("scripted:a1")
    await (await system.user()).send("n1", device.token)
    item = await waiting(system)
    _, hashed = secret_and_hash()
    await (await system.user("devices")).ask(
        "client.register", device="phone", identity="b", secret_hash=hashed, previous=device.proof
    )
    (row,) = await system.rows("n1")
    assert row.current(item.step, item.attempt)
    assert await submitted(system, item) == []


async def test_a_step_of_another_clients_delivery_is_not_submitted(
    open_system: OpenSystem,
) -> None:
    """A step that names a client to which the delivery was not addressed goes nowhere."""
    system = await system_without(open_system, "scripted")
    device = await system.device("scripted:a1")
    other = await system.device("scripted:a1", identity="b")
    await (await system.user()).send("n1", device.token)
    item = await waiting(system)
    assert await submitted(system, item.model_copy(update={"client": other.client})) == []


async def test_an_expired_step_is_not_noted(open_system: OpenSystem) -> None:
    """Expiry is checked at every hop: the worker asks no provider, and reports nothing."""
    system = await system_without(open_system, "scripted")
    shop, device = await system.user(), await system.device("scripted:a1")
    await shop.send("n1", device.token, ttl=60)
    item = await waiting(system)
    system.clock.advance(60)
    assert await submitted(system, item) == []
    async with system.installation.store.transaction() as tx:
        noted = await tx.submitted([(item.delivery, item.step, item.attempt)])
    assert not noted
