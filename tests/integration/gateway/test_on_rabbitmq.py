"""The gateway's queue and requests on a real RabbitMQ, also after a lost connection."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.broker import Broker, Published
from aoi_events.testing.containers import RabbitServer
from tests.integration.gateway.conftest import BrokerAccess, Running
from tests.support.device_frames import CLIENT, OTHER_CLIENT, ack, deliver, delivery_id


@pytest.fixture
def broker_access(rabbit_server: RabbitServer, rabbit_vhost: str) -> BrokerAccess:
    """A virtual host of RabbitMQ; cutting the gateway off cuts the workers off, too."""

    async def connect(user: str) -> Broker:
        url = await asyncio.to_thread(rabbit_server.add_user, rabbit_vhost, user)
        return await RabbitBroker.connect(url)

    async def cut() -> None:
        await asyncio.to_thread(
            rabbit_server.ctl, "close_all_connections", "--vhost", rabbit_vhost, "a test cuts them"
        )

    return BrokerAccess(connect, cut)


async def test_a_day_of_a_device(running: Running) -> None:
    """Registration, hello, request, delivery, acknowledgement, and the end of it."""
    device = await running.devices.connect()
    assert (await device.ask("client.register", device="d"))["name"] == "echoed.v1"
    await device.welcome()
    assert (await device.ask("channel.activate", sequence=1))["body"]["client"] == CLIENT
    (asked,) = running.workers.requests_named("channel.activate")
    assert (asked.user_id, asked.headers["aoi-client"]) == ("aoi-gateway", CLIENT)
    session = running.workers.connects[0].session
    await running.workers.send(
        running.node, deliver(1, session=session), deliver(2, session="f" * 16)
    )
    await device.receive("notification")
    await device.send(ack(1))
    outcomes = {each.delivery: each.kind for each in await running.workers.outcome(2)}
    assert outcomes == {
        delivery_id(1): OutcomeKind.ACKNOWLEDGED,
        delivery_id(2): OutcomeKind.ROUTE_LOST,
    }
    await device.web.close()
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_a_lost_connection_means_a_new_name_and_no_lost_session(running: Running) -> None:
    """After a lost connection every device stays, is announced, and gets deliveries again."""
    devices = [await running.devices.open(client) for client in (CLIENT, OTHER_CLIENT)]
    first, old = list(running.workers.connects), running.node
    await running.drop_broker()

    def announced() -> bool:
        latest = {each.client: each for each in running.workers.connects[2:]}
        return set(latest) == {CLIENT, OTHER_CLIENT} and all(
            each.node == running.node and each.node != old for each in latest.values()
        )

    await running.workers.until(announced)
    assert await running.workers.send(old, deliver(9)) is Published.RETURNED
    for device, request in zip(devices, first, strict=True):
        item = deliver(
            3,
            client=request.client,
            session=request.session,
            epoch=running.workers.epochs[request.client],
        )
        await running.workers.send(running.node, item)
        await device.receive("notification")
        await device.send(ack(3))
    await running.workers.until(
        lambda: (
            [each.kind for each in running.workers.outcomes].count(OutcomeKind.ACKNOWLEDGED) == 2
        )
    )


async def test_draining_hands_everything_over(running: Running) -> None:
    """A draining gateway ends after its last outcomes and presences are confirmed."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session))
    await device.receive("notification")
    await device.send(ack(1))
    await running.workers.outcome()
    closing = asyncio.create_task(device.closed())
    await running.drained()
    assert (await closing)[0] == 1012
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])
