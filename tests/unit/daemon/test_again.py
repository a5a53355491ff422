"""Asking again for what a command could not take: later each time, and once for all of it."""

from __future__ import annotations

import asyncio

from aoi_events.daemon.redelivery import Again
from aoi_events.testing.stopped_clock import FixedDice, ManualClock

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
