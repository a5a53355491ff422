"""What began ends, also when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["to_its_end"]

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is not cancelled when its caller is: the caller is then, once
    the work has ended.

    For SQLite, whose driver works in a thread. A statement cannot be called back from there: given
    up, it would answer when its event loop is long gone, and take its connection down, which for a
    database in memory is all there is.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # seen, and of no use to whoever was cancelled
        raise cancelled
    return task.result()
