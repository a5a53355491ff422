"""Sleeping that a stop ends."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.services.runtime.pausing import Stopped, pause_unless_stopped, sleep_unless_stopped
from aoi_events.testing.stopped_clock import ManualClock


async def test_it_sleeps_for_its_time() -> None:
    """It returns when the clock has reached the end."""
    clock, stop = ManualClock(), asyncio.Event()
    resting = asyncio.ensure_future(sleep_unless_stopped(clock, 5, stop))
    await clock.somebody_sleeps()
    clock.advance(5)
    await resting


async def test_a_stop_ends_the_sleep() -> None:
    """A stop before the sleep or during it raises Stopped at once."""
    clock, stop = ManualClock(), asyncio.Event()
    resting = asyncio.ensure_future(sleep_unless_stopped(clock, 5, stop))
    await clock.somebody_sleeps()
    stop.set()
    with pytest.raises(Stopped):
        await resting
    with pytest.raises(Stopped):
        await sleep_unless_stopped(clock, 5, stop)


async def test_an_outage_of_the_broker_lasts_as_long_as_it_lasts() -> None:
    """Without a connection the sleep goes on until there is one, and ends then; a stop ends it."""
    clock, stop, server = ManualClock(), asyncio.Event(), MemoryServer()
    broker = MemoryBroker(server)
    server.stop()
    resting = asyncio.ensure_future(pause_unless_stopped(clock, broker, 5, stop))
    await clock.somebody_sleeps()
    clock.advance(5)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not resting.done()
    server.start()
    await resting
    server.stop()
    resting = asyncio.ensure_future(pause_unless_stopped(clock, broker, 5, stop))
    await clock.somebody_sleeps()
    clock.advance(5)
    stop.set()
    with pytest.raises(Stopped):
        await resting
