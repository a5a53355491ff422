"""Infrastructure faults that pause a worker, and a sleep that ends on shutdown."""

from __future__ import annotations

import asyncio
from typing import Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.tasks import unless_set
from aoi_events.ports.clock import Clock

PAUSES: Final = (InfrastructureError, ConfigurationError)
"""Faults that no message causes: the worker pauses and tries again, and nothing is parked. Settings
can be wrong on one machine only (a token key that was not copied there), or until they are
corrected.
"""


class Stopped(Exception):
    """The worker was stopped while it slept."""


async def sleep_unless_stopped(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    """Sleep for ``seconds``. Raises Stopped as soon as ``stop`` is set."""
    if not stop.is_set():
        await unless_set(stop, clock.sleep(seconds))
    if stop.is_set():
        raise Stopped
