"""Attached apps: one connection each, and no notification between two chairs."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aoi_events.client import Notification
from aoi_events.contracts.apps import AppNotification, ClientFrame, Detached
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.daemon.attached_apps import Seat, Seats
from aoi_events.daemon.dispatcher import Hands
from aoi_events.daemon.launcher import Waker
from aoi_events.daemon.redelivery import Again
from aoi_events.errors import CouldNotWake
from aoi_events.platform.clock import SystemClock, SystemDice

KEY = "org.example.mail/default"
DELIVERY = base32_id("dlv_", bytes(16))
GIVEN = Notification(DELIVERY, "org.example.mail", "default", Content(data="hello"), "websocket")


class App:
    """An app at the other end of a seat, in memory."""

    def __init__(self, within: float = 30.0) -> None:
        self.heard: asyncio.Queue[ClientFrame] = asyncio.Queue()
        self.ended = False
        self.seat = Seat(KEY, user=0, within=within, send=self.heard.put_nowait, end=self.end)

    def end(self) -> None:
        """The connection is closed."""
        self.ended = True

    async def given(self) -> AppNotification:
        """The next notification."""
        frame = await self.heard.get()
        assert isinstance(frame, AppNotification)
        return frame


def hands(seats: Seats, *command: str) -> Hands:
    """Hands that wake by this command."""
    again = Again(60.0, SystemClock(), SystemDice())
    return Hands(seats, Waker(within=5.0, at_once=1), again, lambda key: command)


async def test_it_goes_to_whoever_is_attached_by_then() -> None:
    """Taken over twice while it is being given: the last one has it, and one ack is enough."""
    seats, apps = Seats(), [App(), App(), App()]
    seats.take(apps[0].seat)
    giving = asyncio.create_task(hands(seats).give(GIVEN))
    for app, successor in pairwise(apps):
        assert (await app.given()).delivery == DELIVERY
        seats.take(successor.seat)
        assert await app.heard.get() == Detached(reason="replaced")
        assert app.ended
        assert not seats.free(app.seat)
    await apps[2].given()
    assert apps[2].seat.acknowledge(DELIVERY, "delivered")
    assert not apps[2].seat.acknowledge(DELIVERY, "delivered")
    await giving


async def test_whoever_leaves_does_not_have_it() -> None:
    """With nobody attached and no command, it could not wake."""
    seats, app = Seats(), App()
    seats.take(app.seat)
    giving = asyncio.create_task(hands(seats).give(GIVEN))
    await app.given()
    assert seats.free(app.seat)
    with pytest.raises(CouldNotWake, match="no command"):
        await giving
    assert not app.seat.acknowledge(DELIVERY, "delivered")


async def test_whoever_is_too_slow_is_detached_for_its_command() -> None:
    """The command gets it, and the seat is free for the app's next connection."""
    seats, app = Seats(), App(within=0.01)
    seats.take(app.seat)
    await hands(seats, "/bin/true").give(GIVEN)
    await app.given()
    assert await app.heard.get() == Detached(reason="too_slow")
    assert len(seats) == 0


async def test_the_app_s_own_no_is_no() -> None:
    """An app that says *could not wake* is not woken on top."""
    seats, app = Seats(), App()
    seats.take(app.seat)
    giving = asyncio.create_task(hands(seats, "/bin/true").give(GIVEN))
    await app.given()
    app.seat.acknowledge(DELIVERY, "could_not_wake")
    with pytest.raises(CouldNotWake, match="could not take it now"):
        await giving
    assert seats.get(KEY) is app.seat


async def test_hands_that_are_closed_take_nothing() -> None:
    """What comes while the daemon stops stays with the server, attached or not."""
    seats, app = Seats(), App()
    seats.take(app.seat)
    closed = hands(seats, "/bin/true")
    closed.close()
    with pytest.raises(CouldNotWake, match="stopping"):
        await closed.give(GIVEN)
    assert app.heard.empty()


async def test_a_token_is_told_once() -> None:
    """Only another token is news."""
    app = App()
    app.seat.welcome("org.example.mail", "default", None)
    for token in (None, "k.one", "k.one", None, "k.two"):
        app.seat.tell_token(token)
    frames = [app.heard.get_nowait() for _ in range(app.heard.qsize())]
    assert [getattr(frame, "token", "?") for frame in frames] == [None, "k.one", "k.two"]
