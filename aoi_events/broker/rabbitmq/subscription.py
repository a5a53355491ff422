"""A consumer of a RabbitMQ queue that reopens its channel when the channel or connection is lost.

The state is decided in :mod:`aoi_events.broker.subscription_state`, the channel of the moment is a
:class:`~aoi_events.broker.rabbitmq.consumer_channel.ConsumerChannel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final, cast

import aiormq
from aiormq.exceptions import ChannelNotFoundEntity

from aoi_events.broker.rabbitmq.consumer_channel import ARRIVES_WITHIN, ConsumerChannel
from aoi_events.broker.rabbitmq.declare import consumer_arguments, queue_arguments
from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.reconnecting_connection import ReconnectingConnection
from aoi_events.broker.subscription_state import Input, SubscriptionState
from aoi_events.broker.taking import TakingSubscription
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.ports.broker import Inbound
from aoi_events.topology import Queue

log = get_logger(__name__)

_REOPENING: Final = RetryPolicy(first=0.1, most=5.0, jitter=0.2)


class RabbitSubscription(TakingSubscription):
    """See :class:`aoi_events.ports.broker.Subscription`.

    It has one channel at a time. Messages that are unsettled when it closes are delivered again
    over the next one.
    """

    def __init__(
        self,
        connection: ReconnectingConnection,
        queue: Queue,
        *,
        prefetch: int,
        redeclare: Callable[[], Awaitable[None]],
    ) -> None:
        """``redeclare`` declares the queue again after it was deleted."""
        if not 1 <= prefetch <= 65535:
            raise ValueError(f"prefetch must be from 1 to 65535, not {prefetch}")
        super().__init__(queue)
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._redeclare = redeclare
        self._numbers = count(1)
        self._channel: ConsumerChannel | None = None
        self._owner: aiormq.Connection | None = None
        self._switching = asyncio.Lock()
        self._reopening: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Consume, and from then on reopen every channel that is lost."""
        await self._open_channel(self._connection.required())
        self._reopening = asyncio.create_task(
            self._reopen_channels(), name=f"subscription {self._name}"
        )

    @property
    def settled_at(self) -> float:
        """When the present channel settled messages last, by the event loop's clock."""
        return float("-inf") if self._channel is None else self._channel.settled_at

    # -- the port -------------------------------------------------------------------------------

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge messages, the oldest run of them with one frame."""
        if self._channel is not None:
            await self._channel.ack(messages)

    async def pause(self) -> None:
        """Keep what was not taken, and cancel the consumer after a while."""
        self._enter(Input.PAUSE)
        if self._state.stopped:
            if self._channel is not None:
                await self._channel.return_untaken()
        # An exclusive queue has no other consumers; what is past the prefetch waits in it.
        elif not self._exclusive and self._idle_timer is None:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(ARRIVES_WITHIN, self._start_idling)

    async def resume(self) -> None:
        """Consume again."""
        self._stop_timer()
        async with self._switching:
            self._enter(Input.RESUME)
            channel = self._channel
            if (
                channel is None
                or channel.consuming
                or self._state is not SubscriptionState.CONSUMING
            ):
                return
            # A channel that is gone by now, or that the broker closes because the queue was
            # deleted, is reopened and consumes then.
            with suppress(BrokerUnavailable, ConfigurationError):
                async with broker_faults(f"consuming {self._name}"):
                    await channel.consume()

    async def stop(self) -> None:
        """Cancel the consumer for good; messages that arrived can be taken and acknowledged."""
        self._enter(Input.STOP)
        self._stop_timer()
        try:
            async with self._switching:
                if self._exclusive:
                    await self._delete_queue()
                elif self._channel is not None:
                    await self._channel.drain()
                    if self._state is SubscriptionState.RETURNING:
                        await self._channel.return_untaken()
        finally:
            self._enter(Input.DRAINED)
        if self._exclusive:
            await self._end_tasks()

    async def close(self) -> None:
        """Stop at once, without draining, because the connection is about to close."""
        self._enter(Input.STOP)
        self._enter(Input.DRAINED)
        await self._end_tasks()

    # -- the state ------------------------------------------------------------------------------

    def _take_waiting(self, limit: int) -> Sequence[Inbound]:
        return () if self._channel is None else self._channel.ledger.take(limit)

    async def _end_tasks(self) -> None:
        self._stop_timer()
        if self._idling is not None:
            await self._idling
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)

    def _stop_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _start_idling(self) -> None:
        self._idling = asyncio.create_task(self._idle(), name=f"idling {self._name}")

    async def _idle(self) -> None:
        async with self._switching:
            if self._state is SubscriptionState.PAUSED and self._channel is not None:
                await self._channel.cancel()

    # -- the channel of the moment --------------------------------------------------------------

    async def _reopen_channels(self) -> None:
        while (channel := self._channel) is not None:
            await channel.closed.wait()
            if self._exclusive and self._state.stopped:
                return  # what the deleted queue had delivered may still be taken
            self._channel = None
            await channel.close()
            if self._state.stopped:
                return
            log.warning("amqp_channel_lost", queue=self._name)
            try:
                await retry(
                    self._reopen_channel,
                    policy=_REOPENING,
                    on=(BrokerUnavailable, ConfigurationError),
                    failed=self._log_failure,
                )
            except _QueueLost:
                self._enter(Input.QUEUE_LOST)

    async def _reopen_channel(self) -> None:
        if self._exclusive:
            if self._owner is None or self._connection.present() is not self._owner:
                raise _QueueLost
            try:
                await self._open_channel(self._owner)
            except _NoSuchQueue as deleted:
                raise _QueueLost from deleted
            return
        connection = await self._connection.up()
        try:
            await self._open_channel(connection)
        except ConfigurationError:
            # The queue may have been deleted; a start would declare it too.
            await self._redeclare()
            raise

    async def _open_channel(self, connection: aiormq.Connection) -> None:
        name = self._name
        async with broker_faults(f"consuming {name}"), self._switching:
            if self._state.stopped:
                return
            amqp_channel = cast(aiormq.Channel, await connection.channel(publisher_confirms=False))
            channel = ConsumerChannel(
                amqp_channel,
                name,
                prefetch=self._prefetch,
                number=next(self._numbers),
                arrived=self._changed.set,
                arguments=consumer_arguments(self._queue),
            )
            try:
                if self._exclusive and self._owner is None:
                    await self._declare_exclusive(amqp_channel)
                elif self._exclusive or self._state is SubscriptionState.PAUSED:
                    # Consuming would find out that the queue is missing; a paused one must too. An
                    # exclusive one that was deleted has lost messages: its user must know.
                    await amqp_channel.queue_declare(name, passive=True)
                await amqp_channel.basic_qos(prefetch_count=self._prefetch)
                self._channel, self._owner = channel, connection
                if self._state is SubscriptionState.CONSUMING:
                    await channel.consume()
            except BaseException as error:
                self._channel = None
                await channel.close()
                if isinstance(error, ChannelNotFoundEntity):
                    raise _NoSuchQueue(
                        f"there is no queue {name!r}; declare the topology before consuming"
                    ) from error
                raise

    async def _declare_exclusive(self, amqp_channel: aiormq.Channel) -> None:
        queue = self._queue
        await amqp_channel.queue_declare(
            queue.name, exclusive=True, arguments=queue_arguments(queue) or None
        )
        for binding in queue.bindings:
            await amqp_channel.queue_bind(queue.name, binding.exchange, binding.pattern)

    async def _delete_queue(self) -> None:
        if self._channel is not None:
            await self._channel.cancel()
        owner, self._owner = self._owner, None
        if owner is None or self._connection.present() is not owner:
            return
        try:
            async with broker_faults(f"deleting {self._name}"):
                if self._channel is not None and not self._channel.amqp_channel.is_closed:
                    amqp_channel = self._channel.amqp_channel
                else:
                    amqp_channel = cast(
                        aiormq.Channel, await owner.channel(publisher_confirms=False)
                    )
                await amqp_channel.queue_delete(self._name)
                await amqp_channel.close()
        except (BrokerUnavailable, ConfigurationError) as fault:
            log.warning("queue_remains_until_disconnected", queue=self._name, error=str(fault))

    def _log_failure(self, attempt: FailedAttempt) -> None:
        log.warning(
            "amqp_channel_not_opened",
            queue=self._name,
            attempt=attempt.number,
            seconds=attempt.pause,
            error=str(attempt.error),
        )


class _NoSuchQueue(ConfigurationError):
    """The queue does not exist."""


class _QueueLost(Exception):
    """An exclusive queue was deleted, alone or with its connection."""
