"""Delivery: notifications reach their app, and are acknowledged with the right code."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from inspect import signature

from aoi_events.channels.websocket.settings import WebSocketSettings
from aoi_events.client import (
    AoiClient,
    Notification,
)
from aoi_events.client.core.events import (
    Activated,
    Connected,
    Registered,
)
from aoi_events.contracts.content import Content
from aoi_events.errors import (
    CouldNotWake,
)
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush, encode
from aoi_events.testing.scripted_client import ScriptedNetwork, ScriptedSms
from tests.integration.client.apps import BOTH, MAIL, Inbox, next_event
from tests.integration.client.conftest import StartDevice
from tests.support.device_frames import delivery_id
from tests.support.scripted_server import ScriptedServer


async def test_registers_activates_and_delivers(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """From nothing to an acknowledged notification, over a real WebSocket."""
    client = await start_device()
    events = client.events()
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"websocket"})
    assert client.connected
    delivery = await server.notify(1, app.token, "you have mail")
    notification = await inbox.next()
    assert notification.content.data == "you have mail"
    assert (notification.application, notification.notification) == (MAIL, "n-1")
    assert await server.acks(1) == [(delivery, "delivered", "websocket")]
    registered = await next_event(events, Registered)
    assert registered == Registered(client.client_id or "", None)
    await next_event(events, Connected)
    await next_event(events, Activated)


async def test_sms_is_proved_and_carries_on_when_the_connection_is_gone(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """The challenge comes back; then SMS delivers without a connection, and acks follow later."""
    sms = ScriptedSms()
    network = ScriptedNetwork()
    server.unproved = {"sms"}
    client = await start_device(sms=sms, network=network, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    await client.until_channels({"websocket", "sms"})
    [confirm] = server.requests("channel.confirm")
    assert confirm.body["code"] == "K3Y9AB"

    network.change(bearer="none")
    await client.until_disconnected()
    push = ContentPush(delivery_id(7), app.fingerprint, Content(data="by radio"))
    sms.receive(*encode(push, transaction_id=2))
    assert (await inbox.next()).channel == "sms"
    network.change(bearer="wifi")
    assert await server.acks(1) == [(delivery_id(7), "delivered", "sms")]
    assert len(server.requests("channel.activate")) == 1


async def test_wake_up_by_sms_is_fetched(server: ScriptedServer, start_device: StartDevice) -> None:
    """A wake-up leads to a fetch; what comes back is handled and acknowledged for SMS."""
    sms = ScriptedSms()
    client = await start_device(sms=sms, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"sms"})
    server.answers["notification.fetch"] = (
        "notification.content.v1",
        {
            "delivery": delivery_id(8),
            "notification": "n-8",
            "token": app.token,
            "content": {"data": "x" * 4000},
            "urgency": "high",
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
    )
    sms.receive(*encode(WakeUpPush(delivery_id(8), app.fingerprint), transaction_id=1))
    assert len((await inbox.next()).content.data) == 4000
    assert await server.acks(1) == [(delivery_id(8), "delivered", "sms")]


async def test_duplicate_reaches_the_app_once(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """The same delivery over both channels is one notification for the app, and two acks."""
    sms = ScriptedSms()
    client = await start_device(sms=sms, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"sms"})
    await server.notify(1, app.token)
    await inbox.next()
    push = ContentPush(delivery_id(1), app.fingerprint, Content(data="hello"))
    sms.receive(*encode(push, transaction_id=1))
    assert [channel for _, _, channel in await server.acks(2)] == ["websocket", "sms"]
    assert inbox.taken.empty()


async def test_app_that_fails_is_not_acknowledged_as_delivered(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A handler that raises does not have the notification; other apps are not affected."""
    client = await start_device()

    async def broken(_: Notification) -> None:
        raise ValueError("a bug in the app")

    bad = await client.register_application("org.example.bad", broken)
    inbox = Inbox()
    good = await client.register_application(MAIL, inbox)
    first = await server.notify(1, bad.token)
    second = await server.notify(2, good.token)
    acks = {(delivery, code) for delivery, code, _ in await server.acks(2)}
    assert acks == {(first, "could_not_wake"), (second, "delivered")}


def test_an_app_is_given_up_before_its_device_is() -> None:
    """The default time of an app is below the default time that a server waits for a device."""
    parameters = signature(AoiClient).parameters
    assert parameters["handle_within"].default < WebSocketSettings().ack_within


async def test_app_that_hangs_is_given_up(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A handler that takes too long does not have the notification."""
    client = await start_device(handle_within=0.05)

    async def hangs(_: Notification) -> None:
        await asyncio.Event().wait()

    app = await client.register_application(MAIL, hangs)
    delivery = await server.notify(1, app.token)
    assert await server.acks(1) == [(delivery, "could_not_wake", "websocket")]


async def test_app_that_stopped_is_woken(server: ScriptedServer, start_device: StartDevice) -> None:
    """A stopped app is woken with the notification; if that fails, the code is *could not wake*."""
    woken = Inbox()
    asleep = False

    async def wake(notification: Notification) -> None:
        if asleep:
            raise CouldNotWake("no battery for that")
        await woken(notification)

    client = await start_device(wake=wake)
    app = await client.register_application(MAIL, Inbox())
    await app.stop()
    first = await server.notify(1, app.token)
    assert (await woken.next()).delivery == first
    await server.acks(1)
    asleep = True
    second = await server.notify(2, app.token)
    assert await server.acks(2) == [
        (first, "delivered", "websocket"),
        (second, "could_not_wake", "websocket"),
    ]
