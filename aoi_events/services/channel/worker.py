"""The worker of one connectionless channel: messages, receipts, and notes of its health."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, Guarded, Windowed
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Store
from aoi_events.services.channel.handler import ProviderHandler
from aoi_events.services.channel.health import HealthNotes
from aoi_events.services.channel.receipts import Receipts
from aoi_events.services.channel.submissions import Submissions
from aoi_events.services.runtime.handler import Handler

Drive = Callable[[Handler[Any]], Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]]


class ChannelWorker:
    """Runs ``channel`` with messages (``drive``), receipts and notes of its health."""

    def __init__(
        self,
        kind: str,
        channel: ConnectionlessChannel,
        *,
        store: Store,
        broker: Broker,
        clock: Clock,
        dice: Dice,
        metrics: WorkerMetrics,
        drive: Drive,
    ) -> None:
        # Names this worker of this process, and no other that ever was.
        name = f"{socket.gethostname()}/{os.getpid()}/{dice.token_hex(4)}"
        self._channel: Final = channel
        self._submissions = Submissions(kind, channel, store, broker, clock, metrics)
        self._beside = (
            Receipts(kind, channel, store, broker, clock, metrics),
            HealthNotes(kind, name, channel, store, clock),
        )
        self._batches = drive(ProviderHandler(kind, self._submissions, store, clock))
        if isinstance(channel, Windowed):
            metrics.watch_window(kind, lambda: channel.window_in_use)
        if isinstance(channel, Guarded):
            metrics.watch_breakers(kind, lambda: channel.in_trouble)
            metrics.providers(channel.providers)

    async def run(self, stop: asyncio.Event, started: asyncio.Event) -> None:
        """Run until ``stop``; then finish what is under way, and close the channel."""
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(each.run()) for each in self._beside]
                await self._batches(stop, started)
                await self._submissions.drain()
                for task in beside:
                    task.cancel()
        finally:
            await self._submissions.close()
            await self._channel.close()
