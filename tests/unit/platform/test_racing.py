"""The first of several awaitables ends the others."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.platform.racing import first_of, unless_set


async def fails() -> None:
    """Raise at once."""
    raise KeyError("first")


async def test_the_first_ends_the_others() -> None:
    """The others are cancelled, and the error of the first is raised."""
    never = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(KeyError):
        await first_of(never, fails())
    assert never.cancelled()


async def test_work_that_ends_before_a_stop_has_its_result() -> None:
    """The result of the work is returned, and its error is raised."""
    stop = asyncio.Event()
    assert await unless_set(stop, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await unless_set(stop, fails())


async def test_a_stop_cancels_the_work() -> None:
    """When the event is set first, the work is cancelled and there is no result."""
    stop, work = asyncio.Event(), asyncio.ensure_future(asyncio.Event().wait())
    stop.set()
    assert await unless_set(stop, work) is None
    assert work.cancelled()
