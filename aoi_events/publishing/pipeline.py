"""Many requests under way at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from typing import TypeVar

__all__ = ["in_order"]

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[R]], *, window: int
) -> AsyncGenerator[R, None]:
    """The result of ``work`` on each item, in the items' order, each as soon as it may come.

    At most ``window`` items are taken and not yielded yet; a slow source holds no result back.
    What the source or ``work`` raises ends it, and whatever was under way is cancelled.
    """
    source = _each(items)
    under_way: deque[asyncio.Task[R]] = deque()
    pull: asyncio.Task[tuple[T] | None] | None = None
    more = True
    try:
        while more or under_way:
            if more and pull is None and len(under_way) < window:
                pull = asyncio.create_task(_pull(source))
            waiting: list[asyncio.Task[R] | asyncio.Task[tuple[T] | None]] = []
            if pull is not None:
                waiting.append(pull)
            if under_way:
                waiting.append(under_way[0])
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if pull is not None and pull.done():
                taken, pull = pull.result(), None
                if taken is None:
                    more = False
                else:
                    under_way.append(asyncio.create_task(_run(work, taken[0])))
            if under_way and under_way[0].done():
                yield under_way.popleft().result()
    finally:
        left = [*under_way, *([] if pull is None else [pull])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await source.aclose()


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _pull(source: AsyncIterator[T]) -> tuple[T] | None:
    """The next item as a tuple of one, or None at the end: items may be None themselves."""
    async for item in source:
        return (item,)
    return None


async def _run(work: Callable[[T], Awaitable[R]], item: T) -> R:
    return await work(item)
