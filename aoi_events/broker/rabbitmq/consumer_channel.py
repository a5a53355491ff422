"""One AMQP channel that consumes one queue, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, cast

import aiormq
from aiormq.abc import ChannelFrame, DeliveredMessage
from pamqp import commands
from pamqp.base import Frame
from pamqp.common import FieldTable

from aoi_events.broker.rabbitmq.delivery_ledger import DeliveryLedger
from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.messages import inbound_of
from aoi_events.broker.rabbitmq.writing import acks, nacks, write
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.ports.broker import Inbound

ARRIVES_WITHIN: Final = 1.0
"""Seconds after which everything that the broker had sent is taken to have arrived."""
_QUIET: Final = 0.3
"""Seconds in which nothing arrived and nothing was settled, after which nothing is on its way."""
_CONSUMER_TAG: Final = "aoi"
"""The same whenever a channel consumes again: a quorum queue then counts what an earlier consumer
of that name still holds, and a subscription that pauses often holds its prefetch and no more."""


class ConsumerChannel:
    """The consumer on one AMQP channel, and the messages that it delivered.

    When the channel closes, the broker delivers to others what was not settled, and ``closed`` is
    set. It is also set when the broker cancels the consumer because the queue was deleted.
    """

    def __init__(
        self,
        amqp_channel: aiormq.Channel,
        queue: str,
        *,
        prefetch: int,
        number: int,
        arrived: Callable[[], None],
        arguments: FieldTable,
    ) -> None:
        """``number`` is the ledger's; ``arrived`` is called for every message; ``arguments`` are
        the consumer's.
        """
        self.amqp_channel = amqp_channel
        self.ledger = DeliveryLedger(number)
        self.closed = asyncio.Event()
        self.consuming = False
        self.settled_at = float("-inf")
        self._queue = queue
        self._prefetch = prefetch
        self._arrived = arrived
        self._arguments = arguments
        self._arrived_at = float("-inf")
        self._news = asyncio.Event()
        self._settling = asyncio.Lock()
        amqp_channel.closing.add_done_callback(self._end)
        amqp_channel.on_consumer_cancel_callbacks.add(self._end)

    async def consume(self) -> None:
        """Start the consumer."""
        await self.amqp_channel.basic_consume(
            self._queue,
            self._deliver,
            consumer_tag=_CONSUMER_TAG,
            arguments=self._arguments,
        )
        self.consuming = True
        self._arrived_at = _now()

    async def cancel(self) -> None:
        """Cancel the consumer; everything that was sent to it has arrived afterwards."""
        if not self.consuming:
            return
        self.consuming = False
        # The broker has taken back everything where the channel is gone.
        with suppress(BrokerUnavailable, ConfigurationError):
            async with broker_faults(f"cancelling the consumer of {self._queue}"):
                await self.amqp_channel.basic_cancel(_CONSUMER_TAG)

    async def drain(self) -> None:
        """Wait for messages on their way, then cancel the consumer.

        A quorum queue counts as failed what is on its way to a consumer that is cancelled. Nothing
        is settled meanwhile, because that would make the broker send more.
        """
        async with self._settling:
            await self._until_quiet()
            await self.cancel()

    async def ack(self, messages: Collection[Inbound]) -> None:
        """Acknowledge those of ``messages`` that are unsettled on this channel."""
        await self._settle(messages, acknowledge=True)

    async def return_untaken(self) -> None:
        """Give back what was not taken, without counting it as failed where the broker can."""
        await self._settle(self.ledger.take(self.ledger.untaken), acknowledge=False)

    async def close(self) -> None:
        """Close the channel; the broker takes back what was not settled."""
        self.consuming = False
        if not self.amqp_channel.is_closed:
            await self.amqp_channel.close()

    def _end(self, _: object) -> None:
        self.closed.set()
        self._news.set()

    async def _deliver(self, message: DeliveredMessage) -> None:
        delivery = cast(commands.Basic.Deliver, message.delivery)
        tag = self.ledger.tag(delivery.delivery_tag or 0)
        self.ledger.add(inbound_of(message, tag=tag))
        self._arrived_at = _now()
        self._news.set()
        self._arrived()

    async def _until_quiet(self) -> None:
        """Return when nothing is on its way, as far as ARRIVES_WITHIN allows to know."""
        until = _now() + ARRIVES_WITHIN
        while (
            self.consuming
            and not self.closed.is_set()
            and self.ledger.unsettled < self._prefetch
            and (quiet_in := min(max(self._arrived_at, self.settled_at) + _QUIET, until) - _now())
            > 0
        ):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(quiet_in):
                    await self._news.wait()

    async def _settle(self, messages: Collection[Inbound], *, acknowledge: bool) -> None:
        # One at a time: an ack of a run would also take what another settlement has yet to write.
        async with self._settling:
            if self.amqp_channel.is_closed:
                return
            tags = self.ledger.settle(messages)
            if not tags:
                return
            frames: Sequence[Frame] = (
                acks(tags, self.ledger.oldest_unsettled) if acknowledge else nacks(tags)
            )
            try:
                payload = ChannelFrame.marshall(self.amqp_channel.number, frames).payload
                await write(self.amqp_channel, payload)
                self.settled_at = _now()
            except BrokerUnavailable:
                return
            except BaseException:
                self.ledger.restore(tags)
                raise


def _now() -> float:
    return asyncio.get_running_loop().time()
