from __future__ import annotations

import asyncio

import pytest

from aoi_events.platform.tasks import first_completed, unless_set


class Never:
    """A coroutine that never returns, and notes that it was cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False

    async def run(self) -> int:
        """Wait for ever."""
        try:
            self.started.set()
            await asyncio.Event().wait()
        finally:
            # As code that cleans up does: the caller must wait for it.
            await asyncio.sleep(0)
            self.cancelled = True
        raise AssertionError


async def returns(value: int) -> int:
    """Return at once."""
    return value


async def fails() -> int:
    """Raise at once."""
    raise LookupError("it")


async def test_the_first_result_ends_the_others() -> None:
    """The futures come in order, and a coroutine that lost has ended, its cleanup included."""
    never = Never()
    losing, winning = await first_completed(never.run(), returns(7))
    assert (losing.cancelled(), winning.result(), never.cancelled) == (True, 7, True)


async def test_all_that_ended_have_their_results() -> None:
    """Coroutines that end in the same round are both reported."""
    first, second = await first_completed(returns(1), fails())
    assert first.result() == 1
    with pytest.raises(LookupError, match="it"):
        second.result()


async def test_an_error_is_raised_by_its_future_only() -> None:
    """The call itself does not raise, so that the caller can look at the others first."""
    never = Never()
    losing, failing = await first_completed(never.run(), fails())
    assert losing.cancelled()
    with pytest.raises(LookupError, match="it"):
        failing.result()


async def test_tasks_of_the_caller_go_on() -> None:
    """Only coroutines are ended; a task that lost is as before."""
    never = Never()
    task = asyncio.create_task(never.run())
    mine, other = await first_completed(task, returns(1))
    assert mine is task
    assert not task.done()
    assert other.result() == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_any_number_of_them() -> None:
    """More than two are waited for like two."""
    nevers = [Never(), Never(), Never()]
    *_, last = await first_completed(*(never.run() for never in nevers), returns(3))
    assert last.result() == 3
    assert all(never.cancelled for never in nevers)


async def test_cancelled_it_leaves_nothing_running() -> None:
    """A caller that is cancelled has no tasks left behind."""
    one, other = Never(), Never()
    waiting = asyncio.create_task(first_completed(one.run(), other.run()))
    await one.started.wait()
    await other.started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert one.cancelled
    assert other.cancelled


async def test_work_is_done_unless_the_event_is_set() -> None:
    """The result is returned, also when the event is set at the same time; an error is raised."""
    stop = asyncio.Event()
    assert await unless_set(stop, returns(5)) == 5
    with pytest.raises(LookupError, match="it"):
        await unless_set(stop, fails())
    stop.set()
    assert await unless_set(stop, returns(5)) == 5


async def test_a_set_event_cancels_the_work() -> None:
    """None is returned once the work has ended."""
    stop, never = asyncio.Event(), Never()
    waiting = asyncio.create_task(unless_set(stop, never.run()))
    await never.started.wait()
    stop.set()
    assert await waiting is None
    assert never.cancelled
