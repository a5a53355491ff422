from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from aoi_events.contracts.events import DeliveryChanged
from aoi_events.contracts.states import DeliveryState, Evidence
from aoi_events.errors import EndedOtherwise, RequestRefused
from aoi_events.publishing import DeviceRequests, Publisher, send_request
from aoi_events.testing.containers import RabbitServer
from tests.integration.publishing.conftest import Running
from tests.support.limits import WITHIN
from tests.support.publishing_device import Device

FORGED = "k1.forged-forged-forged"


@pytest.fixture
async def connected(running: Running, device: Device) -> AsyncIterator[Device]:
    """The same device, connected, its WebSocket active."""
    assert await device.activate() == ["websocket"]
    connection = asyncio.create_task(device.connect(running.gateway_port))
    yield device
    connection.cancel()
    with suppress(asyncio.CancelledError):
        await connection


async def test_send_and_wait_until_delivered(publisher: Publisher, connected: Device) -> None:
    """A notification reaches the device, and its sender learns that the device acknowledged it."""
    accepted = await publisher.send(connected.token, "Your parcel is here")
    status = await publisher.wait(accepted.notification, "delivered", timeout=WITHIN)
    assert status.deliveries[0].by is Evidence.DEVICE
    assert connected.received == ["Your parcel is here"]


async def test_the_status_of_one_delivery(publisher: Publisher, connected: Device) -> None:
    """Whoever sent to many asks for the story of one; another's ID is refused."""
    sent = await publisher.send(connected.token, "hello", notification="n1")
    await publisher.wait("n1", timeout=WITHIN)
    status = await publisher.status("n1", delivery=sent.deliveries[0].delivery)
    assert [each.delivery for each in status.deliveries] == [sent.deliveries[0].delivery]
    assert status.stories
    with pytest.raises(RequestRefused):
        await publisher.status("n1", delivery="dlv_" + "a" * 26)


async def test_events_tell_the_story(publisher: Publisher, device: Device) -> None:
    """A sender hears that its notification was accepted, stored and cancelled, in that order."""
    async with publisher.events() as events:
        await publisher.send(device.token, "hello", notification="n1")
        await publisher.wait("n1", "stored", timeout=WITHIN)
        assert (await publisher.cancel("n1")).cancelled == 1
        kinds = [(await anext(events)).kind for _ in range(3)]
    assert kinds == ["notification.accepted", "notification.stored", "notification.cancelled"]


async def test_waiting_for_delivered_ends_with_the_cancellation(
    publisher: Publisher, device: Device
) -> None:
    """Whoever waits for a delivery learns at once that it was withdrawn."""
    await publisher.send(device.token, "hello", notification="n1")
    async with publisher.events("notification.cancelled") as events:
        waiter = asyncio.create_task(publisher.wait("n1", timeout=WITHIN))
        await publisher.cancel("n1")
        event = await anext(events)
        assert isinstance(event.data, DeliveryChanged)
        assert event.data.state is DeliveryState.CANCELLED
    with pytest.raises(EndedOtherwise, match="cancelled"):
        await waiter


async def test_expiry_is_told(publisher: Publisher, device: Device) -> None:
    """A notification that may not be stored and reaches nobody is expired, and says so."""
    await publisher.send(device.token, "now or never", notification="n1", ttl=0)
    status = await publisher.wait("n1", "terminal", timeout=WITHIN)
    assert status.deliveries[0].state is DeliveryState.EXPIRED


async def test_send_many_answers_each(publisher: Publisher, device: Device) -> None:
    """Many requests at once: each answered in order, a bad token and a conflict in their places."""
    requests = [send_request(device.token, f"{n}", notification=f"n{n}") for n in range(60)]
    requests[10] = send_request(FORGED, "10", notification="n10")
    requests.append(send_request(device.token, "another body", notification="n0"))
    sent = [each async for each in publisher.send_many(requests, window=20)]
    assert [each.request for each in sent] == requests
    assert [each.code for each in sent[10].accepted().rejected] == ["token_forged"]
    assert isinstance(sent[60].error, RequestRefused)
    assert sent[60].error.code == "conflict"
    assert all(len(each.accepted().deliveries) == 1 for each in [*sent[:10], *sent[11:60]])


async def test_a_repeat_is_answered_the_same(publisher: Publisher, device: Device) -> None:
    """The same notification again is the same answer, and one delivery."""
    first = await publisher.send(device.token, "hello", notification="n1")
    assert await publisher.send(device.token, "hello", notification="n1") == first
    assert len((await publisher.status("n1")).deliveries) == 1


async def test_streams_and_waits_survive_the_connection(
    on_rabbitmq: Running, rabbit_server: RabbitServer, rabbit_vhost: str
) -> None:
    """RabbitMQ closes the sender's connections; what waits and streams goes on by itself."""
    async with (
        DeviceRequests(on_rabbitmq.urls.fleet) as requests,
        Publisher(on_rabbitmq.urls.shop) as publisher,
        publisher.events("notification.expired") as events,
    ):
        device = Device(requests)
        await device.register()
        await publisher.send(device.token, "hello", notification="n1", ttl=3)
        waiter = asyncio.create_task(publisher.wait("n1", "terminal", timeout=WITHIN))
        following = asyncio.ensure_future(anext(events))
        await publisher.status("n1")
        await asyncio.to_thread(rabbit_server.cut, rabbit_vhost, "shop")
        # Until the stream is back its events are lost, so there must be one after that.
        while not following.done():
            await publisher.send(device.token, "now or never", ttl=0, retries=10)
            await asyncio.wait([following], timeout=0.5)
        assert (await following).kind == "notification.expired"
        assert events.interruptions == 1
        assert (await waiter).deliveries[0].state is DeliveryState.EXPIRED
