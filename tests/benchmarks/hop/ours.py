"""The hop on our batch runtime: one process, started by the benchmark."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.platform.clock import SystemClock
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parking
from aoi_events.store.store import open_store
from aoi_events.telemetry.prometheus import PrometheusMetrics
from tests.benchmarks.hop.message import IN_QUEUE, OUT_QUEUE, PREFETCH, HopIn, HopOut
from tests.benchmarks.measure import Meter


class HopHandler(Handler[HopIn]):
    """Validates, and publishes one message for each."""

    queue = IN_QUEUE

    def __init__(self, meter: Meter, stop: asyncio.Event) -> None:
        self._meter = meter
        self._stop = stop

    def read(self, message: Inbound) -> HopIn:
        """The request in the message."""
        try:
            return HopIn.model_validate_json(message.body)
        except ValidationError as error:
            raise Refusal(ErrorCode.INVALID, str(error)) from None

    async def handle(self, items: Sequence[HopIn]) -> Sequence[Outbound]:
        """One message for each."""
        if self._meter.handled(len(items)):
            self._stop.set()
        return [
            Outbound(
                exchange="",
                routing_key=OUT_QUEUE,
                body=HopOut(notification=item.notification, accepted=True, content=item.content)
                .model_dump_json()
                .encode(),
            )
            for item in items
        ]


async def _main(url: str, count: int) -> None:
    stop = asyncio.Event()
    metrics = PrometheusMetrics(channels=(), queues=(IN_QUEUE,))
    broker = await RabbitBroker.connect(url, name="bench", metrics=metrics)
    store = await open_store("sqlite+aiosqlite://")
    clock = SystemClock()
    with Meter(count) as meter:
        worker = BatchWorker(
            HopHandler(meter, stop),
            broker=broker,
            parking=Parking(store, clock, quota=10),
            clock=clock,
            batch=PREFETCH,
            give_up=lambda: os._exit(70),
            metrics=metrics,
        )
        await worker.run(stop)
    await broker.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
