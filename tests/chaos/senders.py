"""Plain publishers: requests to send, each repeated until the broker confirmed it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractExchange

from tests.chaos.ledger import Ledger, Notification
from tests.chaos.plain_amqp import confirmed, over_nodes

USER: Final = "shop"
_LANES: Final = 4
"""Requests of one publisher that may wait for their confirms at once."""


async def send(
    orders: Sequence[Sequence[str]], ledger: Ledger, *, rate: float, until: asyncio.Event
) -> None:
    """Send ``rate`` notifications a second ``until`` then; returns when all are confirmed.

    One publisher for each of ``orders``, which are the URLs of nodes as it tries them.
    """
    pause = _LANES * len(orders) / rate
    async with asyncio.TaskGroup() as group:
        for urls in orders:
            group.create_task(_publish(urls, ledger, pause, until))


async def _publish(urls: Sequence[str], ledger: Ledger, pause: float, until: asyncio.Event) -> None:
    again: deque[Notification] = deque()

    async def lane(exchange: AbstractExchange) -> None:
        while again or not until.is_set():
            notification = again.popleft() if again else ledger.next()
            try:
                await confirmed(
                    exchange.publish(_request(notification), "notification.send", mandatory=True)
                )
            except BaseException:
                again.append(notification)
                raise
            notification.confirmed = time.monotonic()
            await asyncio.sleep(pause)

    async def use(amqp_channel: AbstractChannel) -> None:
        exchange = await amqp_channel.get_exchange("aoi.requests", ensure=False)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_LANES):
                    group.create_task(lane(exchange))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    await over_nodes(urls, use)


def _request(notification: Notification) -> Message:
    body = {
        "version": 1,
        "notification": notification.name,
        "tokens": [notification.token],
        "content": {"data": notification.name},
        "ttl": notification.ttl,
    }
    return Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=uuid.uuid4().hex,
        user_id=USER,
    )
