"""Registrations that end by themselves: what is said again is said as the first time."""

from __future__ import annotations

import asyncio

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.events import CloudEvent
from aoi_events.contracts.states import Reason
from aoi_events.ports.store import Store
from aoi_events.services.deadlines.clients import UnusedClients
from aoi_events.services.runtime.settings import Policies
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import EVENTS, Binding, Queue, QueueKind, topology
from tests.support.limits import WITHIN
from tests.support.rows import NOW, a_client, an_application, client_id, later


async def test_an_end_that_was_not_published_has_the_time_of_the_first_attempt(
    empty_store: Store,
) -> None:
    """The worker that ended a registration died before it could publish that: the event has the
    time at which it ended, and the registration keeps it.
    """
    ended = later(-100)
    row = a_client(1, retired_at=ended, retired_reason=Reason.UNUSED, unpublished_since=ended)
    async with empty_store.transaction() as tx:
        await tx.save_clients([row])
    broker = MemoryBroker(MemoryServer())
    events = Queue("events", QueueKind.EXCLUSIVE, (Binding(EVENTS),))
    await broker.declare(topology())
    subscription = await broker.subscribe(events, prefetch=10)
    worker = UnusedClients(empty_store, broker, Policies(), ManualClock(NOW), batch=10)
    assert await worker.process_due() == 1
    async with asyncio.timeout(WITHIN):
        (message,) = await subscription.take(10)
    event = CloudEvent.decode(message.body)
    assert (event.type, event.time) == ("aoi.client.expired.v1", ended)
    async with empty_store.transaction(read_only=True) as tx:
        after = (await tx.clients([client_id(1)]))[client_id(1)]
    assert (after.retired_at, after.unpublished_since) == (ended, None)
    await broker.close()


async def test_clients_with_many_apps_end_in_smaller_batches(empty_store: Store) -> None:
    """The events of one transaction are bounded, whatever the number of apps of each client."""
    clients = range(1, 4)
    async with empty_store.transaction() as tx:
        await tx.save_clients([a_client(number, seen_at=later(-(10**9))) for number in clients])
        await tx.save_applications(
            [an_application(number, f"app{app}") for number in clients for app in range(101)]
        )
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    worker = UnusedClients(empty_store, broker, Policies(), ManualClock(NOW), batch=2)
    ended = []
    while await worker.process_due():
        async with empty_store.transaction(read_only=True) as tx:
            rows = (await tx.clients([client_id(number) for number in clients])).values()
        ended.append(sum(row.retired for row in rows))
    assert ended == [1, 2, 3]
    await broker.close()
