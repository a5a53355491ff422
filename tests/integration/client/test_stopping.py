"""Apps that stop, and a client that is about to: nothing that waits is refused or forgotten."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client import Notification
from aoi_events.client.core.events import NotificationReceived
from aoi_events.errors import RequestTimeout
from tests.integration.client.conftest import Device
from tests.integration.client.server import Server
from tests.integration.client.test_client import MAIL, Inbox, next_event


class Slow:
    """An app that takes its time until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, notification: Notification) -> None:
        """Take a notification, once let go."""
        self.begun.set()
        await self.let_go.wait()


async def test_app_that_stops_before_its_turn_is_woken(server: Server, device: Device) -> None:
    """What waited behind another notification when the app stopped wakes it, and is not refused."""
    slow, woken = Slow(), Inbox()
    client = await device(wake=woken)
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
    server: Server, device: Device
) -> None:
    """`until_idle` waits for what an app is being given, and for its acknowledgement to leave."""
    slow = Slow()
    client = await device()
    app = await client.register_application(MAIL, slow)
    delivery = await server.notify(1, app.token)
    await slow.begun.wait()
    with pytest.raises(RequestTimeout, match="still busy"):
        await client.until_idle(timeout=0.01)
    idle = asyncio.create_task(client.until_idle())
    slow.let_go.set()
    await idle
    assert await server.acks(1) == [(delivery, "delivered", "websocket")]
