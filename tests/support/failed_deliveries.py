"""Deliveries that fail the way they do in operation: a consumer's connection ends half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aoi_events.ports.broker import Broker, Inbound
from aoi_events.topology import Queue
from tests.support.limits import WITHIN


async def fail_deliveries(
    connect: Callable[[], Awaitable[Broker]], queue: Queue, times: int, *, messages: int = 1
) -> list[Inbound]:
    """Deliver the first ``messages`` of ``queue`` so often, each time to a consumer whose
    connection ends before it acknowledged them; returns the last delivery of each.
    """
    taken: list[Inbound] = []
    for _ in range(times):
        broker = await connect()
        subscription = await broker.subscribe(queue, prefetch=messages)
        taken = []
        async with asyncio.timeout(WITHIN):
            while len(taken) < messages:
                taken += await subscription.take(messages - len(taken))
        await broker.close()
    return taken
