"""Asking again for what a command could not take: later each time, and once for all of it."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client import Notification
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.daemon.attached_apps import Seats
from aoi_events.daemon.dispatcher import Hands
from aoi_events.daemon.launcher import Waker
from aoi_events.daemon.redelivery import Again
from aoi_events.errors import CouldNotWake
from aoi_events.testing.stopped_clock import FixedDice, ManualClock
from tests.limits import WITHIN

MAIL, CHAT = "org.example.mail/default", "org.example.chat/default"


async def test_pauses_double_until_it_succeeds_and_have_a_limit() -> None:
    """A minute, two, four, up to an hour, and not a moment before; a success begins anew."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    again = Again(60.0, clock, FixedDice(0.0))
    again.start(asked.put)
    for seconds in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        again.failed(MAIL)
        again.failed(MAIL)
        await clock.somebody_sleeps()
        clock.advance(seconds - 1)
        await asyncio.sleep(0)
        assert asked.empty()
        clock.advance(1)
        assert await asked.get() == MAIL
    again.woken(MAIL)
    again.failed(MAIL)
    await clock.somebody_sleeps()
    clock.advance(60)
    assert await asked.get() == MAIL
    assert asked.empty()


async def test_apps_wait_each_for_itself_and_nobody_after_the_end() -> None:
    """One app's failures do not put another one off; before `start` and after `stop` nothing is."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    again = Again(60.0, clock, FixedDice(0.0))
    again.failed("before the start")
    again.start(asked.put)
    again.failed(MAIL)
    again.failed(CHAT)
    await clock.somebody_sleeps()
    await asyncio.sleep(0)
    clock.advance(60)
    assert {await asked.get(), await asked.get()} == {MAIL, CHAT}
    again.failed(MAIL)
    await clock.somebody_sleeps()
    again.stop()
    again.failed(CHAT)
    await asyncio.sleep(0)
    clock.advance(3_600)
    await asyncio.sleep(0)
    assert asked.empty()


async def test_what_fails_because_of_the_question_needs_another_one() -> None:
    """The server sends what it has stored at once, while the question is still being asked: if the
    command does not take it again, that failure is not covered by this question.
    """
    clock, asked = ManualClock(), asyncio.Queue[str]()
    again = Again(60.0, clock, FixedDice(0.0))

    async def ask(key: str) -> None:
        again.failed(key)
        await asked.put(key)

    again.start(ask)
    again.failed(MAIL)
    for seconds in (60, 120):
        async with asyncio.timeout(WITHIN):
            await clock.somebody_sleeps()
            clock.advance(seconds)
            assert await asked.get() == MAIL


async def test_an_app_without_a_command_is_not_asked_for() -> None:
    """Nothing could wake it a minute later either; it gets what is stored when it starts."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    again = Again(60.0, clock, FixedDice(0.0))
    again.start(asked.put)
    commands: dict[str, tuple[str, ...]] = {CHAT: ("/bin/false",)}
    waker = Waker(within=WITHIN, at_once=1)
    hands = Hands(Seats(), waker, again, lambda key: commands.get(key, ()))
    for application in ("org.example.mail", "org.example.chat"):
        delivery = base32_id("dlv_", bytes(16))
        content = Content(data="hello")
        with pytest.raises(CouldNotWake):
            await hands.give(Notification(delivery, application, "default", content, "websocket"))
    await clock.somebody_sleeps()
    clock.advance(60)
    assert await asked.get() == CHAT
    assert asked.empty()
