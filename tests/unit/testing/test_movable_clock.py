"""The clock that a test puts forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from aoi_events.testing.movable_clock import MovableClock
from tests.support.limits import WITHIN


def test_it_runs_as_the_machines_does() -> None:
    """Without being put forward it tells the time."""
    before = datetime.now(UTC)
    assert before <= MovableClock().now() <= datetime.now(UTC)


def test_it_jumps_and_stays_ahead() -> None:
    """Put forward twice, it is ahead by both."""
    clock = MovableClock()
    clock.advance(3600)
    clock.advance(60)
    assert (clock.now() - datetime.now(UTC)).total_seconds() == pytest.approx(3660, abs=1)


async def test_sleepers_wake_when_their_time_has_come() -> None:
    """Who slept until then wakes, who sleeps longer goes on sleeping."""
    clock = MovableClock()
    minute = asyncio.ensure_future(clock.sleep(60))
    hour = asyncio.ensure_future(clock.sleep(3600))
    await asyncio.sleep(0)  # both have begun
    clock.advance(61)
    async with asyncio.timeout(WITHIN):
        await minute
    assert not hour.done()
    clock.advance(3600)
    async with asyncio.timeout(WITHIN):
        await hour


async def test_short_sleeps_need_nobody() -> None:
    """Real time passes, too."""
    async with asyncio.timeout(WITHIN):
        await MovableClock().sleep(0.01)


def test_it_never_goes_back() -> None:
    """A negative advance is refused."""
    with pytest.raises(ValueError, match="put forward, not by -1 s"):
        MovableClock().advance(-1)
