"""The events about deliveries, read from a durable queue by means of its own."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Final, Self

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

from tests.chaos.plain_amqp import over_nodes
from tests.support.limits import WITHIN

_QUEUE: Final = "aoi.reply.audit.chaos"
_ENDS: Final = frozenset({"delivered", "failed", "expired", "replaced", "cancelled"})
_PATIENCE: Final = 15.0
"""Seconds without an answer, or without any event, after which the next node is asked."""


class Events:
    """Use with ``async with``; ``ends`` are the terminal states of each notification.

    Events with an ID that came before are counted in ``repeats`` and dropped; some are those that
    RabbitMQ delivered again after a lost connection.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._known: set[str] = set()
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.ends: defaultdict[str, list[str]] = defaultdict(list)
        self.repeats = 0

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(over_nodes(self._urls, self._read))
        try:
            async with asyncio.timeout(WITHIN):
                await self._ready.wait()
        except TimeoutError:
            raise TimeoutError(f"no queue of events after {WITHIN:g} s") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait([self._reading], timeout=_PATIENCE)
        if self._reading.done() and not self._reading.cancelled():
            self._reading.result()

    async def until_ended(self, names: Set[str], *, within: float) -> None:
        """Return once an event says of each that it ended, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self.ends.keys() >= names:
                    self._changed.clear()
                    await self._changed.wait()

    async def _read(self, amqp_channel: AbstractChannel) -> None:
        async with asyncio.timeout(_PATIENCE):
            await amqp_channel.set_qos(500)
            exchange = await amqp_channel.declare_exchange(
                "aoi.events", ExchangeType.TOPIC, durable=True
            )
            queue = await amqp_channel.declare_queue(
                _QUEUE, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await queue.bind(exchange, "notification.#")
        self._ready.set()
        async with queue.iterator(timeout=_PATIENCE) as messages:
            async for message in messages:
                self._note(message.body)
                await message.ack()
        raise ConnectionError("the node cancelled the consumer")

    def _note(self, body: bytes) -> None:
        event = json.loads(body)
        if event["id"] in self._known:
            self.repeats += 1
            return
        self._known.add(event["id"])
        kind = event["type"].split(".")[2]
        if kind in _ENDS:
            self.ends[event["data"]["notification"]].append(kind)
            self._changed.set()
