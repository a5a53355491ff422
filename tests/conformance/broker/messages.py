"""Short words for what the tests of this folder say again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published, Subscription
from aoi_events.topology import Exchange, ExchangeType, Queue, Topology
from tests.support.limits import WITHIN

WORK = Queue("work")
DEAD_EXCHANGE = Exchange("dead", ExchangeType.FANOUT)


async def declare(broker: Broker, *queues: Queue, exchanges: Sequence[Exchange] = ()) -> None:
    """Declare some queues and exchanges."""
    await broker.declare(Topology(tuple(exchanges), queues))


def to(queue: str, body: bytes | str = b"") -> Outbound:
    """A message straight into a queue."""
    return Outbound("", queue, body if isinstance(body, bytes) else body.encode())


async def send(broker: Broker, queue: str, *bodies: str) -> None:
    """Put bodies into a queue, each confirmed, as often as it takes a connection to come back."""
    messages = [to(queue, body) for body in bodies]
    results = await retry(
        lambda: broker.publish(messages), policy=RetryPolicy(), on=BrokerUnavailable
    )
    assert set(results) == {Published.CONFIRMED}


async def take(subscription: Subscription, number: int) -> list[Inbound]:
    """Exactly ``number`` messages, in however many batches they come."""
    taken: list[Inbound] = []
    async with asyncio.timeout(WITHIN):
        while len(taken) < number:
            some = await subscription.take(number - len(taken))
            assert some, f"stopped after {len(taken)} of {number}"
            taken += some
    return taken


async def bodies(subscription: Subscription, number: int) -> list[str]:
    """The bodies of exactly ``number`` messages, which are acknowledged."""
    taken = await take(subscription, number)
    await subscription.ack(taken)
    return [message.body.decode() for message in taken]
