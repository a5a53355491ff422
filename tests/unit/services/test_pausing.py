"""Waiting that a stop ends."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.services.runtime.pausing import Stopped, sleep_or_stop
from aoi_events.testing.stopped_clock import ManualClock


async def test_the_sleep_ends_with_its_time() -> None:
    """The sleep ends when the clock reaches its time."""
    clock, stop = ManualClock(), asyncio.Event()
    sleeping = asyncio.ensure_future(sleep_or_stop(clock, 5, stop))
    await clock.somebody_sleeps()
    clock.advance(5)
    await sleeping


async def test_the_sleep_ends_with_a_stop() -> None:
    """A stop, before or during the sleep, ends it at once."""
    clock, stop = ManualClock(), asyncio.Event()
    sleeping = asyncio.ensure_future(sleep_or_stop(clock, 5, stop))
    await clock.somebody_sleeps()
    stop.set()
    with pytest.raises(Stopped):
        await sleeping
    with pytest.raises(Stopped):
        await sleep_or_stop(clock, 5, stop)
