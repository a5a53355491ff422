"""Infrastructure faults that pause a worker, and a sleep that ends on shutdown."""

from __future__ import annotations

import asyncio
from typing import Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.racing import first_of
from aoi_events.ports.clock import Clock

__all__ = ["PAUSES", "Stopped", "sleep_or_stop"]

PAUSES: Final = (InfrastructureError, ConfigurationError)
"""Faults that no message causes: the worker waits and retries, and parks nothing. Settings can be
wrong on one machine only (a token key that was not copied there), or until they are corrected.
"""


class Stopped(Exception):
    """The worker was asked to stop while it slept."""


async def sleep_or_stop(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    """Sleep for so many seconds. Raises Stopped as soon as ``stop`` is set."""
    if not stop.is_set():
        await first_of(clock.sleep(seconds), stop.wait())
    if stop.is_set():
        raise Stopped
