"""Redelivery: each pause is longer, and one registration covers every failure before it."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client import Notification
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.daemon.attached_apps import AttachedApps
from aoi_events.daemon.dispatcher import AppDispatcher
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.redelivery import Redelivery
from aoi_events.errors import CouldNotWake
from aoi_events.testing.stopped_clock import FixedDice, ManualClock
from tests.support.limits import WITHIN

MAIL, CHAT = "org.example.mail/default", "org.example.chat/default"


async def test_pauses_double_until_it_succeeds_and_have_a_limit() -> None:
    """A minute, two, four, up to an hour, and not a moment before; a success begins anew."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    redelivery = Redelivery(60.0, clock, FixedDice(1.0))
    redelivery.start(asked.put)
    for seconds in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        redelivery.failed(MAIL)
        redelivery.failed(MAIL)
        await clock.somebody_sleeps()
        clock.advance(seconds - 1)
        await asyncio.sleep(0)
        assert asked.empty()
        clock.advance(1)
        assert await asked.get() == MAIL
    redelivery.succeeded(MAIL)
    redelivery.failed(MAIL)
    await clock.somebody_sleeps()
    clock.advance(60)
    assert await asked.get() == MAIL
    assert asked.empty()


async def test_apps_wait_each_for_itself_and_nobody_after_the_end() -> None:
    """One app's failures do not put another one off; before `start` and after `stop` nothing is."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    redelivery = Redelivery(60.0, clock, FixedDice(1.0))
    redelivery.failed("before the start")
    redelivery.start(asked.put)
    redelivery.failed(MAIL)
    redelivery.failed(CHAT)
    await clock.somebody_sleeps()
    await asyncio.sleep(0)
    clock.advance(60)
    assert {await asked.get(), await asked.get()} == {MAIL, CHAT}
    redelivery.failed(MAIL)
    await clock.somebody_sleeps()
    redelivery.stop()
    redelivery.failed(CHAT)
    await asyncio.sleep(0)
    clock.advance(3_600)
    await asyncio.sleep(0)
    assert asked.empty()


async def test_what_fails_because_of_the_question_needs_another_one() -> None:
    """The server sends what it has stored at once, while the question is still being asked: if the
    command does not take it again, that failure is not covered by this question.
    """
    clock, asked = ManualClock(), asyncio.Queue[str]()
    redelivery = Redelivery(60.0, clock, FixedDice(1.0))

    async def ask(key: str) -> None:
        redelivery.failed(key)
        await asked.put(key)

    redelivery.start(ask)
    redelivery.failed(MAIL)
    for seconds in (60, 120):
        async with asyncio.timeout(WITHIN):
            await clock.somebody_sleeps()
            clock.advance(seconds)
            assert await asked.get() == MAIL


async def test_an_app_without_a_command_is_not_asked_for() -> None:
    """Nothing could wake it a minute later either; it gets what is stored when it starts."""
    clock, asked = ManualClock(), asyncio.Queue[str]()
    redelivery = Redelivery(60.0, clock, FixedDice(1.0))
    redelivery.start(asked.put)
    commands: dict[str, tuple[str, ...]] = {CHAT: ("/bin/false",)}
    waker = Launcher(within=WITHIN, at_once=1)
    dispatcher = AppDispatcher(AttachedApps(), waker, redelivery, lambda key: commands.get(key, ()))
    for application in ("org.example.mail", "org.example.chat"):
        delivery = base32_id("dlv_", bytes(16))
        content = Content(data="hello")
        with pytest.raises(CouldNotWake):
            await dispatcher.dispatch(
                Notification(delivery, application, "default", content, "websocket")
            )
    await clock.somebody_sleeps()
    clock.advance(60)
    assert await asked.get() == CHAT
    assert asked.empty()
