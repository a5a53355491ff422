"""Apps and clients that stop: queued notifications are not lost, and waiting calls end."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client import AoiClient, MemoryStorage, Notification
from aoi_events.client.core.events import NotificationReceived
from aoi_events.errors import ClientStateError, ClientStopped, RequestTimeout
from tests.integration.client.apps import MAIL, Inbox, next_event
from tests.integration.client.conftest import StartDevice
from tests.support.scripted_server import ScriptedServer


class Slow:
    """An app that handles a notification until the test continues it."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, notification: Notification) -> None:
        """Handle a notification, once continued."""
        self.begun.set()
        await self.let_go.wait()


async def test_app_that_stops_before_its_turn_is_woken(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A notification that is queued when its app stops wakes the app."""
    slow, woken = Slow(), Inbox()
    client = await start_device(wake=woken)
    app = await client.register_application(MAIL, slow)
    first = await server.notify(1, app.token)
    await slow.begun.wait()
    events = client.events()
    second = await server.notify(2, app.token)
    await next_event(events, NotificationReceived)
    await app.stop()
    slow.let_go.set()
    assert (await woken.next()).delivery == second
    acks = [(first, "delivered", "websocket"), (second, "delivered", "websocket")]
    assert await server.acks(2) == acks


async def test_idle_means_that_every_acknowledgement_has_left(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """`until_idle` waits until an app has handled its notification and the ack was sent."""
    slow = Slow()
    client = await start_device()
    app = await client.register_application(MAIL, slow)
    delivery = await server.notify(1, app.token)
    await slow.begun.wait()
    with pytest.raises(RequestTimeout, match="still busy"):
        await client.until_idle(timeout=0.01)
    idle = asyncio.create_task(client.until_idle())
    slow.let_go.set()
    await idle
    assert await server.acks(1) == [(delivery, "delivered", "websocket")]


async def test_storage_that_fails_stops_the_client(server: ScriptedServer) -> None:
    """Nothing is sent that could not be saved; waiting calls raise the reason."""

    class Full(MemoryStorage):
        async def save(self, data: bytes) -> None:
            raise ClientStateError("cannot write: no space left on device")

    async def use() -> None:
        client = AoiClient(server.url, storage=Full(), device="phone-1", identity="tel:+15550100")
        async with client:
            with pytest.raises(ClientStopped, match="no space left"):
                await client.register_application(MAIL, Inbox())
            with pytest.raises(ClientStopped):
                await client.until_connected()

    with pytest.raises(ClientStateError, match="no space left"):
        await use()
    assert server.frames == []


async def test_events_end_with_the_client(server: ScriptedServer) -> None:
    """The stream of events ends when the client does, and so does a new one."""
    client = AoiClient(
        server.url, storage=MemoryStorage(), device="phone-1", identity="tel:+15550100"
    )
    async with client:
        events = client.events()
        await client.register_application(MAIL, Inbox())
    seen = [type(event).__name__ async for event in events]
    assert "ApplicationRegistered" in seen
    assert [event async for event in client.events()] == []
