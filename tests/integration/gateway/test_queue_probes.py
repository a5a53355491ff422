"""A gateway whose queue is gone: it is not ready, opens another, and reports its devices again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.answers import ConfirmedSession, SessionsConfirmedV1
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published
from aoi_events.topology import PROBES, gateway_queue
from tests.integration.gateway.conftest import GATEWAY_USER, BrokerAccess, Running, Start
from tests.support.device_frames import CLIENT, OTHER_CLIENT, deliver, delivery_id
from tests.support.gateway_workers import Reply, reply
from tests.support.limits import WITHIN


def delete_silently(server: MemoryServer, running: Running) -> str:
    """Delete the gateway's queue without a word to its consumer; the old name of the node."""
    node = running.node
    server.delete_queue(server.queue(gateway_queue(node)))
    return node


async def proved(running: Running) -> None:
    """Return when the queue is proved to take messages."""
    async with asyncio.timeout(WITHIN):
        while running.gateway.queue_fault is not None:  # noqa: ASYNC110 - nothing signals this
            await asyncio.sleep(0)


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    """The lines of the log with this event."""
    return [vars(record) for record in caplog.records if record.getMessage() == name]


async def test_a_queue_that_is_gone_without_a_word_is_replaced(
    start: Start, server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The next probe is returned: the gateway is not ready, logs that once, and every device is
    reached again under a new name.
    """
    caplog.set_level(logging.INFO, "aoi_events")
    running = await start(probe_every=0.1)
    devices = [await running.devices.open(client) for client in (CLIENT, OTHER_CLIENT)]
    await proved(running)
    assert (await running.gateway.health()).ready
    old = delete_silently(server, running)
    await running.workers.until(lambda: len(running.workers.connects) == 4)
    assert running.node != old
    await proved(running)
    assert (await running.gateway.health()).ready
    for device, request in zip(devices, running.workers.connects, strict=False):
        item = deliver(
            1,
            client=request.client,
            session=request.session,
            epoch=running.workers.epochs[request.client],
        )
        assert await running.workers.send(old, item) is Published.RETURNED
        assert await running.workers.send(running.node, item) is Published.CONFIRMED
        assert (await device.receive("notification"))["delivery"] == delivery_id(1)
    (unproved,) = events(caplog, "gateway_queue_unproved")
    assert unproved["node"] == old
    assert "no such queue" in str(unproved["reason"])
    assert len(events(caplog, "gateway_queue_proved")) == 1


class Withholding(MemoryBroker):
    """Publishes no probe until it is released."""

    released: asyncio.Event

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """As the one below, after that."""
        if messages[0].exchange == PROBES:
            await self.released.wait()
        return await super().publish(messages)


async def test_a_gateway_is_not_ready_until_a_probe_came_back(
    server: MemoryServer, broker_access: BrokerAccess, start: Start
) -> None:
    """It listens, its broker answers, and nothing has come through its queue yet."""
    broker, others = Withholding(server, user=GATEWAY_USER), broker_access.connect
    broker.released = asyncio.Event()

    async def connect(user: str) -> Broker:
        return broker if user == GATEWAY_USER else await others(user)

    broker_access.connect = connect
    running = await start(probe_within=3_600)
    health = await running.gateway.health()
    assert (health.ready, health.broker, health.listening) == (False, True, True)
    assert "no probe" in (health.queue_fault or "")
    broker.released.set()
    await proved(running)
    assert (await running.gateway.health()).ready


async def test_a_consumer_that_gets_nothing_is_replaced(start: Start, server: MemoryServer) -> None:
    """The queue takes the probes and delivers none: after its time the gateway connects anew."""
    running = await start(probe_every=0.1, probe_within=0.3)
    await running.devices.open()
    await proved(running)
    old, queue = running.node, server.queue(gateway_queue(running.node))
    for consumer in list(queue._consumers):
        queue.detach(consumer)
    await running.workers.until(lambda: len(running.workers.connects) == 2)
    assert running.workers.connects[1].node == running.node != old
    await proved(running)


async def test_sessions_are_reported_again_in_the_background(start: Start) -> None:
    """All of them in one request, again and again; while the workers have them as they are, no
    session changes its epoch and no queue its name.
    """
    running = await start(announce_every=0.05)
    for client in (CLIENT, OTHER_CLIENT):
        await running.devices.open(client)
    node, before = running.node, len(running.workers.confirms)
    await running.workers.until(lambda: len(running.workers.confirms) >= before + 3)
    latest = running.workers.confirms[-1]
    assert sorted(each.client for each in latest.sessions) == [CLIENT, OTHER_CLIENT]
    assert {each.epoch for each in latest.sessions} == {1, 2}
    assert (latest.node, running.node) == (node, node)
    assert len(running.workers.connects) == 2


async def test_a_presence_that_workers_removed_is_restored(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Probes come back, and yet a worker found the queue gone: the presence is restored, and the
    gateway connects anew, perhaps to another node of the broker, under another name.
    """
    running = await start(announce_every=0.05)
    device = await running.devices.open()
    await proved(running)
    node, session = running.node, running.workers.connects[0].session
    running.workers.nodes.pop(session)
    await running.workers.until(lambda: len(running.workers.connects) == 3)
    restored, announced = running.workers.connects[1:]
    assert (restored.node, restored.epoch) == (node, 1)
    assert (announced.node, announced.epoch) == (running.node, 2)
    assert running.node != node
    await running.workers.send(running.node, deliver(1, session=session, epoch=3))
    assert (await device.receive("notification"))["delivery"] == delivery_id(1)
    (line,) = events(caplog, "presences_restored")
    assert (line["node"], line["sessions"]) == (node, 1)


async def test_a_round_that_overtakes_the_announcements_replaces_no_queue(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue has a new name, and a session that is not yet announced under it is reported by a
    round: the workers had it elsewhere because of the name, not because the queue is gone.
    """
    running = await start(announce_every=0.05, request_within=0.5)
    await running.devices.open()
    await proved(running)
    workers, old = running.workers, running.node
    withheld: list[Inbound] = []

    def answer_the_second(message: Inbound) -> Reply:
        if not withheld and running.node != old:
            withheld.append(message)
            return None
        return workers.confirm(message)

    workers.replies["client.present"] = answer_the_second
    await running.drop_broker()
    await workers.until(lambda: bool(withheld))
    await proved(running)
    new, before = running.node, len(workers.confirms)
    await workers.until(lambda: len(workers.confirms) >= before + 3)
    assert set(workers.nodes.values()) == {new}
    assert running.node == new
    assert not events(caplog, "presences_restored")


async def test_a_session_that_ends_while_it_is_reported_replaces_no_queue(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a session overtakes its report: the presence that is restored by that ends, too,
    and other devices keep their queue.
    """
    running = await start(announce_every=0.05)
    device = await running.devices.open()
    await proved(running)
    workers, node = running.workers, running.node
    held: list[Inbound] = []

    def hold(message: Inbound) -> Reply:
        held.append(message)
        return None

    workers.replies["client.present"] = hold
    await workers.until(lambda: bool(held))
    await device.web.close()
    await workers.until(lambda: bool(workers.left))
    changed = ConfirmedSession(session=workers.connects[0].session, epoch=2)
    restored = reply("client.present.v1", SessionsConfirmedV1(changed=(changed,)))
    await workers.answer(held[0], restored)
    await workers.until(lambda: workers.left == [(CLIENT, 1), (CLIENT, 2)])
    assert running.node == node
    assert not events(caplog, "presences_restored")
