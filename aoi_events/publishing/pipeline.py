"""Runs many requests concurrently, and yields their results in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: Iterable[T] | AsyncIterable[T],
    work: Callable[[T], Coroutine[Any, Any, R]],
    *,
    window: int,
) -> AsyncGenerator[R, None]:
    """Yield the result of ``work`` on each item, in the order of the items.

    At most ``window`` items are in progress at once; a slow source delays no result. An error of
    the source or of ``work`` is raised, and cancels the work in progress.
    """
    begun: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
    room = asyncio.Semaphore(window)
    under_way: set[asyncio.Task[R]] = set()

    async def begin() -> None:
        try:
            async with aclosing(_each(items)) as source:
                while True:
                    await room.acquire()
                    try:
                        item = await anext(source)
                    except StopAsyncIteration:
                        return
                    task = asyncio.create_task(work(item))
                    under_way.add(task)
                    begun.put_nowait(task)
        finally:
            begun.put_nowait(None)

    beginning = asyncio.create_task(begin())
    try:
        while (task := await begun.get()) is not None:
            result = await task
            under_way.discard(task)
            yield result
            room.release()
        await beginning
    finally:
        left = [beginning, *under_way]
        for other in left:
            other.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
