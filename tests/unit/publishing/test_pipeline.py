from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from aoi_events.publishing.pipeline import in_order


async def test_results_come_in_order_whatever_finishes_first() -> None:
    """The second result waits for the first, and both were under way together."""
    first_may_end = asyncio.Event()

    async def work(item: int) -> int:
        if item == 0:
            await first_may_end.wait()
        else:
            first_may_end.set()
        return item * 10

    assert [result async for result in in_order([0, 1], work, window=2)] == [0, 10]


async def test_the_window_bounds_what_is_taken() -> None:
    """No more items are taken from the source than may be under way and unread."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    async def work(item: int) -> int:
        return item

    async with aclosing(in_order(source(), work, window=3)) as results:
        assert await anext(results) == 0
        assert len(taken) <= 4


async def test_a_slow_source_holds_no_result_back() -> None:
    """A result is yielded while the source still thinks about its next item."""
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async def work(item: str) -> str:
        return item.upper()

    results = in_order(source(), work, window=10)
    assert await anext(results) == "A"
    go_on.set()
    assert [result async for result in results] == ["B"]


async def test_stopping_to_read_cancels_what_is_under_way() -> None:
    """Whoever closes the results leaves no task behind."""
    cancelled: list[int] = []
    both_started = asyncio.Event()

    async def work(item: int) -> int:
        if item == 0:
            await both_started.wait()
            return item
        if item == 2:
            both_started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async with aclosing(in_order(range(3), work, window=3)) as results:
        assert await anext(results) == 0
    assert sorted(cancelled) == [1, 2]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("failing", ["source", "work"])
async def test_an_exception_ends_the_results(failing: str) -> None:
    """What the source or the work raises reaches the reader, and nothing stays under way."""

    async def source() -> AsyncIterator[int]:
        yield 1
        if failing == "source":
            raise LookupError("no more")

    async def work(item: int) -> int:
        if failing == "work":
            raise LookupError("no work")
        return item

    with pytest.raises(LookupError):
        _ = [result async for result in in_order(source(), work, window=2)]
    assert len(asyncio.all_tasks()) == 1
