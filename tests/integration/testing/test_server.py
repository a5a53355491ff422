"""The servers and devices that the fixtures give, on memory and on RabbitMQ with PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.client import Notification
from aoi_events.client.core.events import Connected, Disconnected
from aoi_events.errors import PublishRefused
from aoi_events.ports.broker import Outbound
from aoi_events.publishing import Publisher
from aoi_events.testing import AoiServer, DidNotHappen, FakeDevice, MakeDevice, WaitFor
from aoi_events.testing.server import open_server
from aoi_events.topology import EVENTS

MAIL, NEWS = "org.example.mail", "org.example.news"


async def whole_way(aoi: AoiServer) -> None:
    """A notification from a sender's publisher to a device and back, as every test may do it."""
    phone = await aoi.device("phone", apps=[MAIL])
    assert phone.client.channels == {"websocket", "sms"}
    shop = await aoi.publisher("shop")
    assert shop.sender == "shop"
    async with shop.events() as events:
        await shop.send(phone.token, "hello", notification="n1")
        read = await phone.read()
        assert (read.content.data, read.notification, read.channel) == ("hello", "n1", "websocket")
        await aoi.wait_for("notification.delivered", notification="n1", by="device")
        kinds = []
        async for event in events:
            kinds.append(event.kind)
            if event.kind == "notification.delivered":
                break
        assert kinds == ["notification.accepted", "notification.delivered"]
    (delivery,) = await aoi.wait_for.state("n1", "delivered")
    assert delivery.by == "device"
    assert {event.kind for event in aoi.events} >= {"client.registered", "channel.activated"}


async def test_the_whole_way_on_memory(aoi: AoiServer) -> None:
    """``aoi`` is a whole server: registration, channels with proof, delivery, events."""
    await whole_way(aoi)


async def test_the_whole_way_on_rabbitmq(aoi_rabbitmq: AoiServer) -> None:
    """``aoi_rabbitmq`` is the same on the real parts."""
    await whole_way(aoi_rabbitmq)


async def test_an_app_that_hangs_costs_no_short_message(aoi: AoiServer) -> None:
    """The device gives a slow app up before the server gives the device up: the truth comes in
    time, and no other channel is tried.
    """
    phone = await aoi.device("phone", apps=[MAIL])
    sent_before = len(aoi.smsc.submissions)

    async def hangs(_: Notification) -> None:
        await asyncio.Event().wait()

    await phone.client.register_application(MAIL, hangs)
    shop = await aoi.publisher("shop")
    await shop.send(phone.token, "hello", notification="n1")
    (delivery,) = await aoi.wait_for.state("n1", "stored")
    assert delivery.reason == "could_not_wake"
    assert len(aoi.smsc.submissions) == sent_before


async def test_fake_device_follows_the_server(
    aoi_rabbitmq: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """In a test of ``aoi_rabbitmq``, ``fake_device`` and ``wait_for`` are that server's."""
    phone = await fake_device("phone", sms=False)
    await wait_for(Connected, device="phone")
    clients = [event.data for event in aoi_rabbitmq.events if event.kind == "client.registered"]
    assert [getattr(data, "client", None) for data in clients] == [phone.client.client_id]


async def test_a_sender_may_only_do_what_senders_do(aoi_rabbitmq: AoiServer) -> None:
    """On RabbitMQ a sender's user has a sender's permissions: no events of others, no queues."""
    broker = await open_broker(aoi_rabbitmq.broker_url("shop"))
    try:
        with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
            await broker.publish([Outbound(EVENTS, "notification.accepted.bank", b"{}")])
    finally:
        await broker.close()


async def test_servers_are_apart(aoi: AoiServer) -> None:
    """A second server in the same test has its own broker, store, devices and tokens."""
    phone = await aoi.device("phone", apps=[MAIL], sms=False)
    settings = {"broker": "memory://aoi@another", "store": "sqlite://"}
    async with open_server(
        settings, sender_url=lambda sender: f"memory://{sender}@another"
    ) as other:
        shop = await other.publisher()
        answer = await shop.send(phone.token, "hello")
        assert [each.code for each in answer.rejected] == ["token_forged"]
        assert not other.events


async def test_a_device_remembers(aoi: AoiServer, phone: FakeDevice) -> None:
    """Switched off and on it is the same AOI Client with the same token, and gets what waited."""
    client, token = phone.client.client_id, phone.token
    shop = await aoi.publisher()
    await phone.switch_off()
    with pytest.raises(RuntimeError, match="phone is switched off: await switch_on"):
        _ = phone.client
    await shop.send(token, "while you slept", notification="n1")
    await aoi.wait_for.state("n1", "stored")
    await phone.switch_on()
    assert (await phone.read()).content.data == "while you slept"
    assert (phone.client.client_id, phone.token) == (client, token)


async def test_two_apps_have_inboxes_of_their_own(aoi: AoiServer, phone: FakeDevice) -> None:
    """Each app reads what was sent to its token; with two apps one must say which."""
    news = await phone.install(NEWS)
    shop = await aoi.publisher()
    await shop.send(news.token, "for news")
    await shop.send(phone.apps[MAIL].token, "for mail")
    assert (await phone.read(MAIL)).content.data == "for mail"
    assert (await news.read()).content.data == "for news"
    assert news.unread == 0
    with pytest.raises(LookupError, match="phone has 2 apps: name one"):
        await phone.read()


async def test_a_broken_app(aoi: AoiServer, phone: FakeDevice) -> None:
    """What an app fails to take is kept by the server, and comes when it starts again."""
    phone.app.broken = True
    shop = await aoi.publisher()
    await shop.send(phone.token, "hello", notification="n1")
    await aoi.wait_for.state("n1", "stored")
    phone.app.broken = False
    await phone.app.start()
    assert (await phone.read()).content.data == "hello"


async def test_cut_and_restored(aoi: AoiServer, phone: FakeDevice) -> None:
    """While it is cut nothing passes; restored, the device connects by itself."""
    shop = await aoi.publisher()
    phone.cut()
    await shop.send(phone.token, "are you there", notification="n1")
    await aoi.wait_for.state("n1", "stored")
    assert phone.app.unread == 0
    await phone.restore()
    await aoi.wait_for(Disconnected, device="phone")
    assert (await phone.read()).content.data == "are you there"


async def test_nothing_to_read_tells_what_happened(phone: FakeDevice) -> None:
    """Reading in vain fails with what the device and the server did instead."""
    with pytest.raises(DidNotHappen) as failure:
        await phone.read(within=0.1)
    text = str(failure.value)
    assert f"a notification for {MAIL} on phone did not happen within 0.1 s" in text
    assert "ApplicationRegistered" in text
    assert "client.registered" in text


async def test_the_clock_put_forward(aoi: AoiServer, phone: FakeDevice) -> None:
    """A day passes for the server at once: what was stored for an hour expires."""
    shop = await aoi.publisher()
    await phone.switch_off()
    await shop.send(phone.app.last_token, "soon old", notification="n1", ttl=3600)
    await shop.send(phone.app.last_token, "old later", notification="n2", ttl=172_800)
    await aoi.wait_for.state("n2", "stored")
    aoi.advance(86_400)
    await aoi.wait_for.state("n1", "expired")
    await aoi.wait_for.state("n2", "stored")
    await phone.switch_on()
    assert (await phone.read()).content.data == "old later"


async def test_your_own_publisher(aoi: AoiServer, phone: FakeDevice) -> None:
    """Code under test gets the broker's URL, and nothing else of the fixture."""
    async with Publisher(aoi.broker_url("bank")) as bank:
        answer = await bank.send(phone.token, "hello", notification="n1")
        assert len(answer.deliveries) == 1
        await bank.wait("n1", "delivered")


@pytest.fixture
async def phone(fake_device: MakeDevice) -> FakeDevice:
    """A phone without SMS, with one app."""
    return await fake_device("phone", apps=[MAIL], sms=False)
