"""What breaks: devices that fall silent or do not read, the broker, the gateway's own end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.memory.subscription import MemorySubscription
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.errors import ConfigurationError
from aoi_events.gateway.gateway import Gateway
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.ports.broker import Broker, Inbound, Published
from aoi_events.topology import Queue
from tests.integration.gateway.conftest import GATEWAY_USER, BrokerAccess, Running, Start
from tests.support.device_frames import CLIENT, OTHER_CLIENT, ack, deliver, delivery_id, hello
from tests.support.gateway_workers import Reply, Workers, refusal, refuse_sessions
from tests.support.limits import WITHIN


async def test_a_device_that_was_cut_without_a_word_is_noticed(start: Start) -> None:
    """Half open: no pong within the bound, so presence ends and what was under way goes back."""
    running = await start(ping_every=0.1, pong_within=0.1)
    await running.devices.open(answers_pings=False)
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session))
    (outcome,) = await running.workers.outcome()
    assert (outcome.kind, outcome.step, outcome.epoch) == (OutcomeKind.ROUTE_LOST, 0, 1)
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_a_device_that_answers_pings_stays(start: Start) -> None:
    """Many pings later the session is still open: only silence ends it."""
    running = await start(ping_every=0.5, pong_within=3)
    quiet = await running.devices.open(answers_pings=False)
    pings = 0
    async with asyncio.timeout(WITHIN):
        while pings < 8:
            message = await quiet.web.receive()
            pings += 1
            await quiet.web.pong(message.data)
    assert (await running.gateway.health()).sessions == 1


async def test_a_device_that_only_sends_is_pinged(start: Start) -> None:
    """A device that acknowledges, and gets nothing, must not take the gateway for dead."""
    running = await start(ping_every=0.5, pong_within=60, frames_per_second=1_000)
    busy = await running.devices.open(answers_pings=False)

    async def acknowledge() -> None:
        while True:
            await busy.send(ack(1))
            await asyncio.sleep(0.02)

    acknowledging = asyncio.create_task(acknowledge())
    async with asyncio.timeout(WITHIN):
        for _ in range(2):
            assert (await busy.web.receive()).type is aiohttp.WSMsgType.PING
    acknowledging.cancel()
    assert (await running.gateway.health()).sessions == 1


async def test_a_connection_that_is_reset_is_noticed_at_once(running: Running) -> None:
    """A reset needs no ping: presence ends as soon as the socket says so."""
    device = await running.devices.open()
    connection = device.web._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_a_device_that_does_not_read_is_sent_away(start: Start) -> None:
    """Beyond the write buffer the session ends with 4411, everything unread goes back, and
    another device is served meanwhile.
    """
    running = await start(window=10_000, write_buffer=65_536, close_within=5)
    slow = await running.devices.open(receive_buffer=4_096)
    quick = await running.devices.open(OTHER_CLIENT)
    session, other = (request.session for request in running.workers.connects)
    content = Content.of("x" * 4_096)
    lost = 0
    for first in range(0, 10_000, 100):
        items = [deliver(n, session=session, content=content) for n in range(first, first + 100)]
        await running.workers.send(running.node, *items)
        number = 100_000 + first
        item = deliver(number, client=OTHER_CLIENT, session=other, epoch=2)
        await running.workers.send(running.node, item)
        assert (await quick.receive("notification"))["delivery"] == delivery_id(number)
        await quick.send(ack(number))
        lost += 100
        if running.workers.left:
            break
    assert running.workers.left == [(CLIENT, 1)]
    await running.workers.until(
        lambda: (
            sum(each.kind is OutcomeKind.ROUTE_LOST for each in running.workers.outcomes) == lost
        )
    )
    code, goodbye = await slow.closed()
    assert code == 4411
    assert goodbye is not None
    assert goodbye["code"] == 4411


async def test_a_device_that_never_reads_again_is_cut(start: Start) -> None:
    """The close of a slow reader is itself bounded in time."""
    running = await start(window=10_000, write_buffer=65_536, close_within=0.1)
    await running.devices.open(receive_buffer=4_096)
    session = running.workers.connects[0].session
    content = Content.of("x" * 4_096)
    for first in range(0, 10_000, 100):
        items = [deliver(n, session=session, content=content) for n in range(first, first + 100)]
        await running.workers.send(running.node, *items)
        if running.workers.left:
            break
    await asyncio.wait_for(running.gateway._all_gone.wait(), WITHIN)
    assert (await running.gateway.health()).connections == 0


async def test_stopping_drains(running: Running) -> None:
    """A draining gateway closes with 1012, publishes all outcomes, and admits no device."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(
        running.node, deliver(1, session=session), deliver(2, session=session)
    )
    for _ in range(2):
        await device.receive("notification")
    await device.send(ack(1))
    closing = asyncio.create_task(device.closed())
    await running.workers.outcome(1)
    await running.drained()
    code, goodbye = await closing
    assert code == 1012
    assert goodbye is not None
    assert goodbye["code"] == 1012
    kinds = {each.delivery: each.kind for each in await running.workers.outcome(2)}
    assert kinds == {
        delivery_id(1): OutcomeKind.ACKNOWLEDGED,
        delivery_id(2): OutcomeKind.ROUTE_LOST,
    }
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await running.devices.raw()
    assert not (await running.gateway.health()).ready


async def test_stopping_does_not_wait_for_devices_that_do_not_answer(start: Start) -> None:
    """A silent device delays the drain by the time that a close may take, and no longer."""
    running = await start(close_within=0.1)
    await running.devices.open(answers_pings=False)
    await running.drained()
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_cancelling_stops_at_once(start: Start) -> None:
    """The second signal: sockets are gone, and so is every task of the gateway."""
    running = await start(close_within=3_600)
    device = await running.devices.open(answers_pings=False)
    running.task.cancel()
    await asyncio.wait({running.task}, timeout=WITHIN)
    assert running.task.cancelled()
    assert (await device.closed())[0] == 1006


async def test_a_new_broker_connection_is_a_new_node_with_all_sessions(running: Running) -> None:
    """After a cut the node has another name, announces its session with the epoch and without the
    secret, and deliveries under the new epoch arrive; the old queue is gone.
    """
    device = await running.devices.open()
    session, old = running.workers.connects[0].session, running.node
    await running.drop_broker()
    await running.workers.until(lambda: len(running.workers.connects) == 2)
    announced = running.workers.connects[1]
    assert (announced.client, announced.secret, announced.epoch) == (CLIENT, None, 1)
    assert (announced.session, announced.node) == (session, running.node)
    assert running.node != old
    assert await running.workers.send(old, deliver(1)) is Published.RETURNED
    await running.workers.send(running.node, deliver(2, session=session, epoch=2))
    assert (await device.receive("notification"))["delivery"] == delivery_id(2)
    assert (await device.ask("channel.activate"))["name"] == "echoed.v1"
    (asked,) = running.workers.requests_named("channel.activate")
    assert asked.headers["aoi-client"] == CLIENT


async def test_an_announcement_goes_on_until_it_is_answered(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence and faults of the workers are answered by asking again, and logged."""
    running = await start(request_within=2)
    device = await running.devices.open()
    answers: list[Callable[[Inbound], Reply]] = [
        lambda _: None,
        lambda _: refusal("internal"),
        lambda message: refuse_sessions(message, "unavailable"),
    ]

    def answer(message: Inbound) -> Reply:
        return answers.pop(0)(message) if answers else running.workers.confirm(message)

    running.workers.replies["client.present"] = answer
    await running.drop_broker()
    await running.workers.until(lambda: running.workers.epoch == 2)
    assert answers == []
    logged = [vars(each)["error"] for each in caplog.records if "not_confirmed" in each.message]
    assert len(logged) == 2
    assert "clocks" in logged[1]
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session, epoch=2))
    await device.receive("notification")


async def test_a_session_that_another_took_meanwhile_is_ended(running: Running) -> None:
    """The announcement is refused as a conflict: this connection is the replaced one."""
    device = await running.devices.open()
    running.workers.replies["client.present"] = lambda message: refuse_sessions(message, "conflict")
    await running.drop_broker()
    assert (await device.closed())[0] == 4409


async def test_many_sessions_are_announced_over_many_drops(running: Running) -> None:
    """However often the connection is cut, each session ends up known under the last name."""
    for letter in "cdefghijklm":
        await running.devices.open("cli_" + letter * 26)
    for _ in range(5):
        await running.drop_broker()
        await asyncio.sleep(0)
    latest: dict[str, str] = {}

    def all_current() -> bool:
        latest.update({each.client: each.node for each in running.workers.connects})
        return len(latest) == 11 and set(latest.values()) == {running.node}

    await running.workers.until(all_current)
    assert (await running.gateway.health()).sessions == 11


async def test_outcomes_wait_for_a_broker_that_is_away(start: Start, server: MemoryServer) -> None:
    """Outcomes and presences wait for the broker, and are published when it is back."""
    running = await start()
    device = await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session))
    await device.receive("notification")
    server.stop()
    await device.send(ack(1))
    answer = await device.ask("channel.activate")
    assert answer["body"]["code"] == "unavailable"
    health = await running.gateway.health()
    assert (health.ready, health.broker, health.sessions) == (False, False, 1)
    late = await running.devices.connect()
    await late.send(hello(OTHER_CLIENT))
    assert (await late.closed())[0] == 1013
    server.start()
    (outcome,) = await running.workers.outcome()
    assert (outcome.kind, outcome.delivery) == (OutcomeKind.ACKNOWLEDGED, delivery_id(1))
    await running.workers.until(lambda: len(running.workers.connects) == 2)
    assert (await device.ask("channel.activate"))["name"] == "echoed.v1"


class Reluctant(MemoryBroker):
    """Refuses so many subscriptions, as a broker may that has just come back."""

    refusals = 0

    async def subscribe(self, queue: Queue, *, prefetch: int) -> MemorySubscription:
        """As the one below, after that."""
        if self.refusals:
            self.refusals -= 1
            raise ConfigurationError("not now")
        return await super().subscribe(queue, prefetch=prefetch)


async def test_a_broker_that_refuses_for_now_ends_no_gateway(
    server: MemoryServer, broker_access: BrokerAccess, start: Start
) -> None:
    """After repeated refusals the gateway gets its queue, and announces its sessions."""
    broker, others = Reluctant(server, user=GATEWAY_USER), broker_access.connect

    async def connect(user: str) -> Broker:
        return broker if user == GATEWAY_USER else await others(user)

    broker_access.connect = connect
    running = await start()
    await running.devices.open()
    broker.refusals = 2
    await running.drop_broker()
    await running.workers.until(lambda: len(running.workers.connects) == 2)
    assert broker.refusals == 0


async def test_stopping_while_the_broker_is_away_at_the_start(server: MemoryServer) -> None:
    """A gateway that never got its queue still obeys the first signal, and was never started."""
    broker = MemoryBroker(server)
    server.stop()
    gateway, stop = Gateway(broker, settings=GatewaySettings(port=0)), asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, WITHIN)
    assert not gateway.started.is_set()
    await broker.close()


async def test_a_port_that_is_taken_is_said(running: Running, workers: Workers) -> None:
    """The error of a second gateway names the port and the settings to change."""
    settings = GatewaySettings(port=running.gateway.port)
    second = Gateway(workers.broker, settings=settings)
    with pytest.raises(ConfigurationError, match=f"port {running.gateway.port}.*free port"):
        await second.run(asyncio.Event())
