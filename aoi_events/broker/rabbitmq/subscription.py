"""A consumer on a RabbitMQ queue that goes on over lost channels and connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import cast

import aiormq
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.base import Frame

from aoi_events.broker.rabbitmq.declare import queue_arguments
from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.messages import TAG_BITS, inbound_of
from aoi_events.broker.rabbitmq.reconnecting_connection import Link
from aoi_events.broker.rabbitmq.writing import acks, nacks, rejects, write
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.ports.broker import Inbound
from aoi_events.topology import Queue, QueueKind

__all__ = ["RabbitSubscription"]

log = get_logger(__name__)

_AGAIN = RetryPolicy(first=0.1, most=5.0, jitter=0.2)
_TAGS = (1 << TAG_BITS) - 1
LEAVE_AFTER = 1.0
"""Seconds from a pause to the end of its consumer. A quorum queue counts what is on its way to a
consumer that is cancelled as failed; by then the prefetch is full, or the queue had no more."""
QUIET = 0.3
"""Seconds in which nothing came and nothing was settled, after which nothing is on its way."""
_CONSUMER_TAG = "aoi"
"""The same whenever a channel consumes again: a quorum queue then counts what an earlier consumer
of that name still holds, and a subscription that pauses often holds its prefetch and no more."""


class RabbitSubscription:
    """See :class:`aoi_events.ports.broker.Subscription`.

    One channel at a time; each has a number, and a tag says which channel it came from, so that a
    settlement never reaches another. What a channel held when it went comes again by itself.
    """

    def __init__(
        self,
        link: Link,
        queue: Queue,
        *,
        prefetch: int,
        redeclare: Callable[[], Awaitable[None]],
    ) -> None:
        if not 1 <= prefetch <= 65535:
            raise ValueError(f"prefetch must be from 1 to 65535, not {prefetch}")
        self._link = link
        self._queue = queue
        self._prefetch = prefetch
        self._redeclare = redeclare
        self._generation = 0
        self._channel: aiormq.Channel | None = None
        self._owner: aiormq.Connection | None = None
        self._consuming = False
        self._waiting: deque[Inbound] = deque()
        # Broker tags of the present channel, in the order of delivery.
        self._unsettled: dict[int, None] = {}
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()
        self._switching = asyncio.Lock()
        self._settling = asyncio.Lock()
        self._paused = False
        self._leaving: asyncio.TimerHandle | None = None
        self._left: asyncio.Task[None] | None = None
        self._stopped = False
        self._ended = False
        self.gone = False
        self._keeper: asyncio.Task[None] | None = None
        self._came_at = float("-inf")
        self.settled_at = float("-inf")

    async def open(self) -> None:
        """Consume for the first time, and from then on keep consuming."""
        await self._open(self._link.required())
        name = f"subscription {self._queue.name}"
        self._keeper = asyncio.create_task(self._keep(), name=name)

    # -- the port -------------------------------------------------------------------------------

    async def take(self, limit: int) -> Sequence[Inbound]:
        """Wait for at least one message; return what waits, up to ``limit``."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        while self._paused or not self._waiting:
            if self._ended:
                return ()
            if self.gone:
                raise BrokerUnavailable(
                    f"the exclusive queue {self._queue.name!r} went with its connection; "
                    "subscribe to a new one"
                )
            self._changed.clear()
            await self._changed.wait()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Settle messages for good, the oldest run of them with one frame."""
        await self._settle(messages, lambda tags: acks(tags, self._unsettled))

    async def requeue(self, messages: Sequence[Inbound]) -> None:
        """Give messages back, each as a failed delivery."""
        await self._settle(messages, rejects)

    async def pause(self) -> None:
        """Keep what nobody took, and cancel the consumer where that is worth while."""
        self._paused = True
        if self._stopped:
            await self._give_back()
            return
        # Nobody else may consume an exclusive queue; what is past the prefetch waits in it.
        if self._queue.kind is not QueueKind.EXCLUSIVE and self._leaving is None:
            loop = asyncio.get_running_loop()
            self._leaving = loop.call_later(LEAVE_AFTER, self._leave_soon)

    async def resume(self) -> None:
        """Consume again."""
        self._stay()
        async with self._switching:
            self._paused = False
            self._changed.set()
            channel = self._channel
            if channel is None or self._consuming or self._stopped:
                return
            # A channel that is gone by now, or that the broker closes because somebody deleted the
            # queue, is opened anew by the keeper, consuming.
            with suppress(BrokerUnavailable, ConfigurationError):
                async with broker_faults(f"consuming {self._queue.name}"):
                    await self._consume(channel)

    async def stop(self) -> None:
        """Cancel the consumer for good; what is here may still be taken, and settled."""
        self._stopped = True
        self._stay()
        try:
            async with self._switching:
                # Meanwhile nothing is settled, which would make more come.
                async with self._settling:
                    await self._arrived()
                    await self._cancel()
                if self._queue.kind is QueueKind.EXCLUSIVE:
                    await self._delete()
                elif self._paused:
                    await self._give_back()
        finally:
            # Not before: what was on its way has come by now.
            self._end()
        if self.gone:
            await self.close()

    async def close(self) -> None:
        """Stop keeping the subscription alive; its connection is about to close."""
        self._stopped = True
        self._end()
        self._stay()
        if self._left is not None:
            await self._left
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def _end(self) -> None:
        self._ended = True
        self._changed.set()

    # -- channels that come and go --------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._broken.wait()
            if self.gone:
                return
            channel = self._channel
            self._drop_channel()
            if channel is not None and not channel.is_closed:
                await channel.close()
            if self._stopped:
                return
            log.warning("amqp_channel_lost", queue=self._queue.name)
            try:
                await retry(
                    self._reopen,
                    policy=_AGAIN,
                    on=(BrokerUnavailable, ConfigurationError),
                    failed=self._failed,
                )
            except _QueueGone:
                self.gone = True
                self._changed.set()
                return

    async def _reopen(self) -> None:
        if self._queue.kind is QueueKind.EXCLUSIVE:
            if self._owner is None or self._link.present() is not self._owner:
                raise _QueueGone
            await self._open(self._owner)
            return
        connection = await self._link.up()
        try:
            await self._open(connection)
        except ConfigurationError:
            # Somebody may have deleted the queue; declaring it anew is what a start would do.
            await self._redeclare()
            raise

    async def _open(self, connection: aiormq.Connection) -> None:
        queue = self._queue
        async with broker_faults(f"consuming {queue.name}"), self._switching:
            if self._stopped:
                return
            channel = cast(aiormq.Channel, await connection.channel(publisher_confirms=False))
            try:
                if queue.kind is QueueKind.EXCLUSIVE:
                    await self._declare_exclusive(channel)
                elif self._paused:
                    # Consuming would say so; a paused one must hear it all the same.
                    await channel.queue_declare(queue.name, passive=True)
                await channel.basic_qos(prefetch_count=self._prefetch)
                self._generation += 1
                self._channel, self._owner = channel, connection
                self._watch(channel)
                if not (self._paused or self._stopped):
                    await self._consume(channel)
            except ChannelNotFoundEntity as error:
                self._drop_channel()
                raise ConfigurationError(
                    f"there is no queue {queue.name!r}; declare the topology before consuming"
                ) from error
            except BaseException:
                self._drop_channel()
                if not channel.is_closed:
                    await channel.close()
                raise

    async def _declare_exclusive(self, channel: aiormq.Channel) -> None:
        queue = self._queue
        await channel.queue_declare(
            queue.name, exclusive=True, arguments=queue_arguments(queue) or None
        )
        for binding in queue.bindings:
            await channel.queue_bind(queue.name, binding.exchange, binding.pattern)

    async def _consume(self, channel: aiormq.Channel) -> None:
        generation = self._generation

        async def deliver(message: DeliveredMessage) -> None:
            inbound = inbound_of(message, generation)
            if generation != self._generation:
                return
            self._unsettled[inbound.tag & _TAGS] = None
            self._waiting.append(inbound)
            self._came_at = asyncio.get_running_loop().time()
            self._changed.set()

        await channel.basic_consume(self._queue.name, deliver, consumer_tag=_CONSUMER_TAG)
        self._consuming = True
        self._came_at = asyncio.get_running_loop().time()

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _leave_soon(self) -> None:
        self._left = asyncio.create_task(self._leave(), name=f"leaving {self._queue.name}")

    async def _leave(self) -> None:
        async with self._switching:
            if self._paused:
                await self._cancel()

    async def _arrived(self) -> None:
        """Return when nothing is on its way, as far as that can be told within LEAVE_AFTER."""
        if self._queue.kind is QueueKind.EXCLUSIVE:
            return
        now = asyncio.get_running_loop().time
        until = now() + LEAVE_AFTER
        while self._consuming and len(self._unsettled) < self._prefetch:
            quiet_in = min(max(self._came_at, self.settled_at) + QUIET, until) - now()
            if quiet_in <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(quiet_in):
                    await self._changed.wait()

    async def _cancel(self) -> None:
        """Cancel the consumer; all that was sent to it before is here afterwards."""
        channel = self._channel
        if channel is None or not self._consuming:
            return
        self._consuming = False
        # Where the channel is gone, all that it held is back in the queue already.
        with suppress(BrokerUnavailable, ConfigurationError):
            async with broker_faults(f"leaving {self._queue.name}"):
                await channel.basic_cancel(_CONSUMER_TAG)

    async def _give_back(self) -> None:
        """Give back all that was sent and nobody took."""
        untaken = list(self._waiting)
        self._waiting.clear()
        await self._settle(untaken, nacks)

    async def _delete(self) -> None:
        """Delete the exclusive queue, unless it went with its connection already."""
        if self.gone:
            return
        owner, channel = self._owner, self._channel
        self.gone = True
        here = list(self._waiting)
        self._drop_channel()
        self._waiting.extend(here)
        if owner is None or self._link.present() is not owner:
            return
        try:
            async with broker_faults(f"deleting {self._queue.name}"):
                if channel is None or channel.is_closed:
                    channel = cast(aiormq.Channel, await owner.channel(publisher_confirms=False))
                await channel.queue_delete(self._queue.name)
                await channel.close()
        except (BrokerUnavailable, ConfigurationError) as fault:
            log.warning("queue_kept_until_disconnected", queue=self._queue.name, error=str(fault))

    def _watch(self, channel: aiormq.Channel) -> None:
        """Hear when the channel closes, or the broker cancels the consumer (a deleted queue)."""
        broken = self._broken = asyncio.Event()

        def broke(_: object) -> None:
            broken.set()

        channel.closing.add_done_callback(broke)
        channel.on_consumer_cancel_callbacks.add(broke)

    def _drop_channel(self) -> None:
        self._generation += 1
        self._channel = None
        self._consuming = False
        self._waiting.clear()
        self._unsettled.clear()

    def _failed(self, attempt: FailedAttempt) -> None:
        log.warning(
            "amqp_channel_not_opened",
            queue=self._queue.name,
            attempt=attempt.number,
            seconds=attempt.pause,
            error=str(attempt.error),
        )

    # -- settling -------------------------------------------------------------------------------

    async def _settle(
        self, messages: Collection[Inbound], frames: Callable[[list[int]], list[Frame]]
    ) -> None:
        """Settle those of ``messages`` that the present channel delivered and nobody settled.

        One at a time: an ack of a run would also take what another settlement has yet to write.
        """
        async with self._settling:
            channel, generation = self._channel, self._generation
            tags = self._forget(messages)
            if not tags or channel is None or channel.is_closed:
                return
            try:
                payload = ChannelFrame.marshall(channel.number, frames(tags)).payload
                await write(channel, payload)
                self.settled_at = asyncio.get_running_loop().time()
            except BrokerUnavailable:
                return
            except BaseException:
                if generation == self._generation:
                    self._unsettled = dict.fromkeys(sorted([*self._unsettled, *tags]))
                raise

    def _forget(self, messages: Collection[Inbound]) -> list[int]:
        generation = self._generation
        tags = []
        for message in messages:
            tag = message.tag & _TAGS
            if message.tag >> TAG_BITS == generation and tag in self._unsettled:
                del self._unsettled[tag]
                tags.append(tag)
        return sorted(tags)


class _QueueGone(Exception):
    """The connection of an exclusive queue is gone, and the queue with it."""
