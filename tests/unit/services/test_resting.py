"""Waiting that a stop ends."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.services.runtime.pausing import Stopped, sleep_unless_stopped
from aoi_events.testing.stopped_clock import ManualClock


async def test_rest_ends_with_its_time() -> None:
    """It rests until the clock says so."""
    clock, stop = ManualClock(), asyncio.Event()
    resting = asyncio.ensure_future(sleep_unless_stopped(clock, 5, stop))
    await clock.somebody_sleeps()
    clock.advance(5)
    await resting


async def test_rest_ends_with_a_stop() -> None:
    """Told to stop, before or meanwhile, it says so at once."""
    clock, stop = ManualClock(), asyncio.Event()
    resting = asyncio.ensure_future(sleep_unless_stopped(clock, 5, stop))
    await clock.somebody_sleeps()
    stop.set()
    with pytest.raises(Stopped):
        await resting
    with pytest.raises(Stopped):
        await sleep_unless_stopped(clock, 5, stop)
