"""What makes a worker wait, and waiting that ends at once when it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.ports.clock import Clock

__all__ = ["PAUSES", "Stopped", "first_of", "rest"]

PAUSES: Final = (InfrastructureError, ConfigurationError)
"""What is no message's fault: the worker waits and tries again, and nothing is parked. Settings can
be wrong on one machine only (a token key that was not copied there), or until somebody mends them.
"""


class Stopped(Exception):
    """The worker was told to stop while it waited."""


async def first_of(*waits: Awaitable[Any]) -> None:
    """Return as soon as one of ``waits`` is over, and end the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def rest(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    """Sleep for so many seconds. Raises Stopped as soon as ``stop`` is set."""
    if not stop.is_set():
        await first_of(clock.sleep(seconds), stop.wait())
    if stop.is_set():
        raise Stopped
