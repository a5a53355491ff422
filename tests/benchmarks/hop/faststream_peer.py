"""The same hop on FastStream: one process, started by the benchmark."""

from __future__ import annotations

import asyncio
import sys

from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from tests.benchmarks.hop.message import IN_QUEUE, OUT_QUEUE, PREFETCH, HopIn, HopOut
from tests.benchmarks.measure import Meter


def _queue(name: str) -> RabbitQueue:
    # Passive: the benchmark has declared both, as quorum queues.
    return RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True, declare=False)


async def _main(url: str, count: int) -> None:
    stop = asyncio.Event()
    broker = RabbitBroker(
        url,
        default_channel=Channel(
            prefetch_count=PREFETCH, publisher_confirms=True, on_return_raises=True
        ),
        logger=None,
    )
    with Meter(count) as meter:

        @broker.subscriber(_queue(IN_QUEUE))
        @broker.publisher(_queue(OUT_QUEUE), persist=True, mandatory=True)
        async def hop(message: HopIn) -> HopOut:
            if meter.handled(1):
                stop.set()
            return HopOut(notification=message.notification, accepted=True, content=message.content)

        await broker.start()
        await stop.wait()
        await broker.stop()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
