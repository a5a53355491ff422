"""Waits for the first of several awaitables, and cancels the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["first_of", "unless_set"]

T = TypeVar("T")


async def first_of(*waits: Awaitable[Any]) -> None:
    """Return when one of ``waits`` ends, after cancelling the others; raise what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless_set(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Return the result of ``work``; None when ``stop`` is set first, which cancels ``work``."""
    working = asyncio.ensure_future(work)
    await first_of(working, stop.wait())
    return None if working.cancelled() else working.result()
