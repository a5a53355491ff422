"""The dispatcher: a notification goes to the attached connection, or else to the command."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aoi_events.client import Notification
from aoi_events.contracts.apps import AppNotification, ClientFrame, Detached
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.daemon.attached_apps import AttachedApp, AttachedApps
from aoi_events.daemon.dispatcher import AppDispatcher
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.redelivery import Redelivery
from aoi_events.errors import CouldNotWake
from aoi_events.platform.clock import SystemClock, SystemDice

KEY = "org.example.mail/default"
DELIVERY = base32_id("dlv_", bytes(16))
NOTIFICATION = Notification(
    DELIVERY, "org.example.mail", "default", Content(data="hello"), "websocket"
)


class FakeConnection:
    """The connection of an attached app, in memory."""

    def __init__(self, ack_within: float = 30.0) -> None:
        self.frames: asyncio.Queue[ClientFrame] = asyncio.Queue()
        self.ended = False
        self.app = AttachedApp(
            KEY, ack_within=ack_within, send=self.frames.put_nowait, close=self.close
        )

    def close(self) -> None:
        """The connection is closed."""
        self.ended = True

    async def next_notification(self) -> AppNotification:
        """The next notification."""
        frame = await self.frames.get()
        assert isinstance(frame, AppNotification)
        return frame


def dispatcher(attached: AttachedApps, *command: str) -> AppDispatcher:
    """A dispatcher that launches this command."""
    redelivery = Redelivery(60.0, SystemClock(), SystemDice())
    return AppDispatcher(attached, Launcher(within=5.0, at_once=1), redelivery, lambda key: command)


async def test_the_newest_connection_gets_it() -> None:
    """If other connections replace the first during delivery, the last gets it; one ack counts."""
    attached, connections = AttachedApps(), [FakeConnection(), FakeConnection(), FakeConnection()]
    attached.add(connections[0].app)
    delivering = asyncio.create_task(dispatcher(attached).dispatch(NOTIFICATION))
    for connection, successor in pairwise(connections):
        assert (await connection.next_notification()).delivery == DELIVERY
        attached.add(successor.app)
        assert await connection.frames.get() == Detached(reason="replaced")
        assert connection.ended
        assert not attached.remove(connection.app)
    await connections[2].next_notification()
    assert connections[2].app.acknowledge(DELIVERY, "delivered")
    assert not connections[2].app.acknowledge(DELIVERY, "delivered")
    await delivering


async def test_a_connection_that_ends_does_not_have_it() -> None:
    """Without another connection and without a command the app could not be woken."""
    attached, connection = AttachedApps(), FakeConnection()
    attached.add(connection.app)
    delivering = asyncio.create_task(dispatcher(attached).dispatch(NOTIFICATION))
    await connection.next_notification()
    assert attached.remove(connection.app)
    with pytest.raises(CouldNotWake, match="no command"):
        await delivering
    assert not connection.app.acknowledge(DELIVERY, "delivered")


async def test_an_app_that_is_too_slow_is_detached_for_its_command() -> None:
    """The command gets it, and the app can attach again."""
    attached, connection = AttachedApps(), FakeConnection(ack_within=0.01)
    attached.add(connection.app)
    await dispatcher(attached, "/bin/true").dispatch(NOTIFICATION)
    await connection.next_notification()
    assert await connection.frames.get() == Detached(reason="too_slow")
    assert len(attached) == 0


async def test_an_app_that_refuses_is_not_woken() -> None:
    """After *could not wake* from the app its command is not launched."""
    attached, connection = AttachedApps(), FakeConnection()
    attached.add(connection.app)
    delivering = asyncio.create_task(dispatcher(attached, "/bin/true").dispatch(NOTIFICATION))
    await connection.next_notification()
    connection.app.acknowledge(DELIVERY, "could_not_wake")
    with pytest.raises(CouldNotWake, match="could not take it now"):
        await delivering
    assert attached.get(KEY) is connection.app


async def test_a_closed_dispatcher_refuses_notifications() -> None:
    """While the daemon stops, notifications stay at the server, attached or not."""
    attached, connection = AttachedApps(), FakeConnection()
    attached.add(connection.app)
    closed = dispatcher(attached, "/bin/true")
    closed.close()
    with pytest.raises(CouldNotWake, match="stopping"):
        await closed.dispatch(NOTIFICATION)
    assert connection.frames.empty()


async def test_a_token_is_sent_once() -> None:
    """A token is sent only if it changed."""
    connection = FakeConnection()
    connection.app.welcome("org.example.mail", "default", None)
    for token in (None, "k.one", "k.one", None, "k.two"):
        connection.app.send_token(token)
    frames = [connection.frames.get_nowait() for _ in range(connection.frames.qsize())]
    assert [getattr(frame, "token", "?") for frame in frames] == [None, "k.one", "k.two"]
