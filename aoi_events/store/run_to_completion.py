"""Work that is completed although its caller was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; a cancelled caller waits until ``work`` has ended.

    For SQLite, whose driver works in a thread. A statement cannot be cancelled there: an abandoned
    one would answer when its event loop is gone, and take its connection down. With a database in
    memory that is the whole database.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # retrieved; the cancelled caller does not need it
        raise cancelled
    return task.result()
