"""Traffic that keeps account of what the broker promised, while somebody breaks the broker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import RetryPolicy
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published, Subscription
from aoi_events.topology import Queue
from tests.support.limits import WITHIN

QUEUE = Queue("traffic", delivery_limit=1000)
BATCH = 40
_AGAIN = RetryPolicy(first=0.05, most=0.5, jitter=0.05)


@dataclass
class Ledger:
    """What was promised to the publisher, and what arrived and was settled."""

    confirmed: set[int] = field(default_factory=set)
    uncertain: set[int] = field(default_factory=set)
    arrived: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    lost_batches: int = 0
    finishing: bool = False
    wrong_results: list[str] = field(default_factory=list)
    grew: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_confirmed(self, number: int) -> None:
        """Wait until ``number`` more messages are confirmed."""
        goal = len(self.confirmed) + number
        async with asyncio.timeout(WITHIN), self.grew:
            await self.grew.wait_for(lambda: len(self.confirmed) >= goal)

    async def until_all_acknowledged(self) -> None:
        """Wait until every confirmed message was taken and acknowledged."""
        async with asyncio.timeout(WITHIN), self.grew:
            await self.grew.wait_for(lambda: self.confirmed <= self.acknowledged)


async def publish_steadily(broker: Broker, ledger: Ledger, stop: asyncio.Event) -> None:
    """Publish batches of which every fourth message has no queue, until told to stop."""
    number = 0
    while not stop.is_set():
        batch = range(number, number + BATCH)
        number += BATCH
        messages = [
            Outbound("", "nowhere" if each % 4 == 3 else QUEUE.name, str(each).encode())
            for each in batch
        ]
        try:
            results = await broker.publish(messages)
        except BrokerUnavailable:
            ledger.lost_batches += 1
            ledger.uncertain.update(batch)
            await asyncio.sleep(_AGAIN.first)
            continue
        for each, result in zip(batch, results, strict=True):
            expected = Published.RETURNED if each % 4 == 3 else Published.CONFIRMED
            if result is not expected:
                ledger.wrong_results.append(f"{each}: {result}")
        async with ledger.grew:
            ledger.confirmed.update(each for each in batch if each % 4 != 3)
            ledger.grew.notify_all()


async def consume_steadily(subscription: Subscription, ledger: Ledger) -> None:
    """Take batches; acknowledge the even half at once, the odd half after the next batch."""
    late: list[Inbound] = []
    while taken := await subscription.take(50):
        ledger.arrived.update(int(message.body) for message in taken)
        odd = [message for message in taken if int(message.body) % 2]
        settled = [message for message in taken if int(message.body) % 2 == 0]
        await subscription.ack(settled)
        await subscription.ack(late)
        settled, late = settled + late, odd
        if ledger.finishing:
            await subscription.ack(late)
            settled, late = settled + late, []
        async with ledger.grew:
            ledger.acknowledged.update(int(message.body) for message in settled)
            ledger.grew.notify_all()
