"""Declares topology values at RabbitMQ."""

from __future__ import annotations

from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from pamqp.common import FieldTable

from aoi_events.topology import Exchange, Queue, QueueKind, Topology

CONSUMER_TIMEOUT: Final = 12 * 3_600_000
"""Milliseconds that a consumer may hold a message. A worker that pauses holds what it took for as
long as the store is away; after RabbitMQ's default, 30 minutes, that counts as a failed delivery.
Twelve hours are longer than most outages; after them, others get the messages of a worker that
pauses for a fault that only it has (a key that was not copied to its machine).

Another value here needs another one for queues: RabbitMQ compares the argument of a queue from
4.3.2 on, and refuses (406) one that was declared with this value. Leave the queues theirs, and
change the argument of consumers, which nothing compares, and the policy of operations/upgrading.
Where queues must have it, operators have to empty and delete each first, as for going back there.
"""
_CONSUMER_TIMEOUT: Final = "x-consumer-timeout"


def consumer_arguments(queue: Queue) -> FieldTable:
    """The ``x-`` arguments of a consumer; RabbitMQ reads this one from 4.3 on."""
    return {_CONSUMER_TIMEOUT: CONSUMER_TIMEOUT} if queue.kind is QueueKind.QUORUM else {}


def queue_arguments(queue: Queue) -> FieldTable:
    """The ``x-`` arguments of a queue.

    At-least-once dead-lettering needs a quorum queue, an overflow behaviour that refuses, and all
    three arguments set; every limit is explicit because its default changed between versions.
    """
    arguments: FieldTable = {}
    if queue.kind is QueueKind.QUORUM:
        arguments["x-queue-type"] = "quorum"
        arguments[_CONSUMER_TIMEOUT] = CONSUMER_TIMEOUT
        if queue.delivery_limit is not None:
            arguments["x-delivery-limit"] = queue.delivery_limit
        if queue.dead_letter_exchange is not None:
            arguments["x-dead-letter-exchange"] = queue.dead_letter_exchange
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
    if queue.max_length_bytes is not None:
        arguments["x-max-length-bytes"] = queue.max_length_bytes
        arguments["x-overflow"] = "reject-publish"
    return arguments


async def declare_topology(connection: AbstractConnection, topology: Topology) -> None:
    """Declare exchanges, queues and bindings.

    A user without the permission to configure one of them only checks that it exists: then another
    user declared it, with its bindings.
    """
    declaring = _Declaring(connection)
    try:
        for exchange in topology.exchanges:
            await declaring.exchange(exchange)
        for queue in topology.queues:
            await declaring.queue(queue)
    finally:
        await declaring.close()


class _Declaring:
    """A channel for declarations; a refused one closes it, the next opens another."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._opened: AbstractChannel | None = None

    async def _amqp_channel(self) -> AbstractChannel:
        if self._opened is None or self._opened.is_closed:
            self._opened = await self._connection.channel(publisher_confirms=False)
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def exchange(self, exchange: Exchange) -> None:
        arguments: FieldTable = {}
        if exchange.alternate is not None:
            arguments["alternate-exchange"] = exchange.alternate
        amqp_channel = await self._amqp_channel()
        try:
            await amqp_channel.declare_exchange(
                exchange.name,
                aio_pika.ExchangeType(exchange.type.value),
                durable=True,
                arguments=arguments,
            )
        except ChannelAccessRefused:
            amqp_channel = await self._amqp_channel()
            await amqp_channel.declare_exchange(exchange.name, passive=True)

    async def queue(self, queue: Queue) -> None:
        arguments = queue_arguments(queue)
        try:
            await self._queue(queue, arguments)
        except ChannelPreconditionFailed as refused:
            if _CONSUMER_TIMEOUT not in str(refused):
                raise
            # Queues of version 0.1 lack this argument, which RabbitMQ compares from 4.3.2 on.
            del arguments[_CONSUMER_TIMEOUT]
            try:
                await self._queue(queue, arguments)
            except ChannelPreconditionFailed as again:
                raise refused if _CONSUMER_TIMEOUT in str(again) else again from None

    async def _queue(self, queue: Queue, arguments: FieldTable) -> None:
        amqp_channel = await self._amqp_channel()
        try:
            declared = await amqp_channel.declare_queue(
                queue.name, durable=True, arguments=arguments
            )
            for binding in queue.bindings:
                await declared.bind(binding.exchange, binding.pattern)
        except ChannelAccessRefused:
            amqp_channel = await self._amqp_channel()
            await amqp_channel.declare_queue(queue.name, passive=True)
