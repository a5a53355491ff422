"""A broker that is slow to take a step: its device gets all the time that it would have had."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import BrokerUnavailable, StoreUnavailable
from aoi_events.ports.broker import Outbound, Published, StartedSteps
from aoi_events.services.deadlines.worker import DeadlinesWorker
from aoi_events.store.deliveries import DeliveryQueries
from tests.integration.services.conftest import ACK_WITHIN, OpenSystem
from tests.integration.services.crashes import handler, system_without
from tests.integration.services.test_broken_batches import run
from tests.support.actors import Device, Node
from tests.support.system import System

SLOW = 20.0

Meanwhile = Callable[[], Awaitable[None]]


class Slow(MemoryBroker):
    """A connection on which something happens before its first step is confirmed."""

    def __init__(self, server: MemoryServer, *, user: str, meanwhile: Meanwhile) -> None:
        super().__init__(server, user=user)
        self._hooks = [meanwhile]

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish, and confirm after what happens meanwhile."""
        results = await super().publish(messages)
        if self._hooks and any(isinstance(each.note, StartedSteps) for each in messages):
            await self._hooks.pop()()
        return results


class Blocked(MemoryBroker):
    """A connection that the broker blocks while there is an alarm."""

    alarm = True

    async def blocked(self) -> bool:
        """Whether there is an alarm."""
        return self.alarm

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish, or do not, as RabbitMQ does with an alarm."""
        if self.alarm:
            raise BrokerUnavailable("the broker did not confirm within 30 s")
        return await super().publish(messages)


async def connected(open_system: OpenSystem) -> tuple[System, Node, Device, int]:
    """A device that is connected, with a fallback, on a system without its notification worker; and
    the epoch of its connection.
    """
    system = await system_without(open_system, "notification")
    node = await system.node()
    device = await system.device("websocket", "scripted:a1")
    return system, node, device, (await node.connect(device)).epoch


async def confirm_late(system: System, meanwhile: Meanwhile | None = None) -> None:
    """Run a notification worker whose first step is confirmed late, after ``meanwhile``."""

    async def wait() -> None:
        if meanwhile is not None:
            await meanwhile()
        system.clock.advance(SLOW)

    slow = partial(Slow, meanwhile=wait)
    await run(system, handler(system, "notification"), broker=slow, slow=0.0)


async def test_the_window_of_a_first_step_starts_with_its_confirm(open_system: OpenSystem) -> None:
    """The broker takes 20 s: the device has its whole time from then on, and only after that the
    fallback starts.
    """
    system, _, device, _ = await connected(open_system)
    await confirm_late(system)
    await (await system.user()).send("n1", device.token)
    until = system.clock.now() + timedelta(seconds=ACK_WITHIN)
    (row,) = await system.until(partial(system.rows, "n1"), lambda rows: rows[0].deadline == until)
    assert row.steps[0].started_at == system.clock.now()
    await system.advance(ACK_WITHIN - 0.001)
    assert await system.rows("n1") == [row]
    await system.advance(0.001)
    assert (await system.provider.next_delivery()).notification == "n1"


async def test_an_outcome_that_came_first_stands(open_system: OpenSystem) -> None:
    """The device acknowledges before the worker learns that the broker took the step."""
    system, node, device, _ = await connected(open_system)

    async def acknowledge() -> None:
        await node.acknowledge(await node.next_delivery())
        await system.events.wait_for("notification.delivered")

    await confirm_late(system, acknowledge)
    shop = await system.user()
    await shop.send("n1", device.token)
    await shop.send("n2", device.token)  # handled when the batch of the first is settled
    (row,) = await system.rows("n1")
    assert (row.state, row.deadline) == (DeliveryState.DELIVERED, None)


async def test_a_next_step_that_started_first_stands(open_system: OpenSystem) -> None:
    """The connection of the device turns out to be lost before the worker learns that the broker
    took the step: the fallback is under way, with a window of its own.
    """
    system, node, device, epoch = await connected(open_system)

    async def lose() -> None:
        await node.report(await node.next_delivery(), OutcomeKind.ROUTE_LOST, epoch=epoch)
        await system.provider.next_delivery()

    await confirm_late(system, lose)
    before, shop = system.clock.now(), await system.user()
    await shop.send("n1", device.token)
    await shop.send("n2", device.token)
    (row,) = await system.rows("n1")
    assert row.deadline == before + timedelta(seconds=ACK_WITHIN)
    assert row.steps[1].started_at == before


async def test_a_worker_that_cannot_move_the_deadline_goes_on(
    open_system: OpenSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away when the confirm has come: the deadline stays, and the batch is settled,
    because its steps are out.
    """

    async def fail(*_: object) -> None:
        raise StoreUnavailable("the test took it away")

    system, node, device, _ = await connected(open_system)
    monkeypatch.setattr(DeliveryQueries, "postpone", fail)
    await confirm_late(system)
    before, shop = system.clock.now(), await system.user()
    await shop.send("n1", device.token)
    await shop.send("n2", device.token)
    assert [(await node.next_delivery()).notification for _ in range(2)] == ["n1", "n2"]
    (row,) = await system.rows("n1")
    assert row.deadline == before + timedelta(seconds=ACK_WITHIN)


async def test_steps_of_the_deadlines_worker_start_with_their_confirm(
    open_system: OpenSystem,
) -> None:
    """A fallback that the broker takes late has its whole time from then on, too."""
    system = await open_system()
    device, node = await system.device("websocket", "scripted:a1"), await system.node()
    await node.connect(device)
    await (await system.user()).send("n1", device.token)
    known = await system.connect("aoi")
    assert isinstance(known, MemoryBroker)

    async def wait() -> None:
        system.clock.advance(SLOW)

    slow = Slow(known.server, user="aoi", meanwhile=wait)
    system.stack.push_async_callback(slow.close)
    system.stack.push_async_callback(known.close)
    found = system.installation
    worker = DeadlinesWorker(found.store, slow, found.services, system.clock, system.dice)
    system.clock.advance(ACK_WITHIN)
    assert await worker.process_due()
    (row,) = await system.rows("n1")
    assert row.published
    assert row.steps[1].started_at == system.clock.now()
    assert row.deadline == system.clock.now() + timedelta(seconds=ACK_WITHIN)


async def test_no_step_starts_while_the_broker_is_blocked(open_system: OpenSystem) -> None:
    """An alarm lasts longer than the window of a step: the deadlines worker starts no fallback, and
    when the alarm ends the acknowledgement that waited comes first.
    """
    system = await system_without(open_system, "deadlines")
    device, node = await system.device("websocket", "scripted:a1"), await system.node()
    await node.connect(device)
    await (await system.user()).send("n1", device.token)
    known = await system.connect("aoi")
    assert isinstance(known, MemoryBroker)
    system.stack.push_async_callback(known.close)
    blocked = Blocked(known.server, user="aoi")
    system.stack.push_async_callback(blocked.close)
    found = system.installation
    worker = DeadlinesWorker(found.store, blocked, found.services, system.clock, system.dice)
    system.clock.advance(ACK_WITHIN)
    with pytest.raises(BrokerUnavailable):
        await worker.process_due()
    (row,) = await system.rows("n1")
    assert not row.steps[1].started
    blocked.alarm = False
    due = asyncio.create_task(worker.process_due())
    await system.clock.somebody_sleeps()
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered")
    system.clock.advance(ACK_WITHIN)
    assert not await due
    (row,) = await system.rows("n1")
    assert not row.steps[1].started


async def test_a_clock_that_is_set_makes_no_confirm_slow(open_system: OpenSystem) -> None:
    """Only the event loop's time counts: the deadline stays where a fast broker left it."""
    system, _, device, _ = await connected(open_system)

    async def set_clock() -> None:
        system.clock.advance(SLOW)

    slow = partial(Slow, meanwhile=set_clock)
    await run(system, handler(system, "notification"), broker=slow, slow=3_600.0)
    before, shop = system.clock.now(), await system.user()
    await shop.send("n1", device.token)
    await shop.send("n2", device.token)
    (row,) = await system.rows("n1")
    assert row.deadline == before + timedelta(seconds=ACK_WITHIN)
