"""Infrastructure faults that pause a worker, and a sleep that ends on shutdown."""

from __future__ import annotations

import asyncio
from typing import Final

from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.tasks import unless_set
from aoi_events.ports.broker import Broker
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


async def pause_unless_stopped(
    clock: Clock, broker: Broker, seconds: float, stop: asyncio.Event
) -> None:
    """Sleep for ``seconds``, and on until there is a connection to the broker. Raises Stopped as
    soon as ``stop`` is set.

    So no attempt is made during an outage of the broker, and the pause after it is a short one.
    """
    await sleep_unless_stopped(clock, seconds, stop)
    await unless_set(stop, broker.connected())
    if stop.is_set():
        raise Stopped
