"""Races of tasks: wait for the first of several awaitables, and leave none of them running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")
First = TypeVar("First")
Second = TypeVar("Second")


@overload
async def first_completed(
    first: Awaitable[First], second: Awaitable[Second], /
) -> tuple[asyncio.Future[First], asyncio.Future[Second]]: ...
@overload
async def first_completed(*awaitables: Awaitable[Any]) -> tuple[asyncio.Future[Any], ...]: ...
async def first_completed(*awaitables: Awaitable[Any]) -> tuple[asyncio.Future[Any], ...]:
    """Wait until one of ``awaitables`` has ended; return a future for each, in order.

    Coroutines run as tasks of this call: those that have not ended are cancelled, and have ended
    when it returns or is cancelled itself. Tasks and futures belong to the caller and go on. Raises
    nothing of what the awaitables raised: ask their futures.
    """
    futures = tuple(asyncio.ensure_future(each) for each in awaitables)
    own = [future for future, each in zip(futures, awaitables, strict=True) if future is not each]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in own:
            future.cancel()
        await asyncio.gather(*own, return_exceptions=True)
    return futures


async def unless_set(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``; None when ``stop`` is set before, which cancels ``work``.

    Raises what ``work`` raises.
    """
    working, _ = await first_completed(work, stop.wait())
    return None if working.cancelled() else working.result()
