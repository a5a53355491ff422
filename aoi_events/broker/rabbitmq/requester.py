"""Requests and their answers over RabbitMQ's direct reply-to."""

from __future__ import annotations

import asyncio
from typing import Final

from aiormq.abc import DeliveredMessage

from aoi_events.broker.pending_calls import PendingCalls
from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.messages import inbound_of
from aoi_events.broker.rabbitmq.publish_channel import PublishChannel
from aoi_events.broker.rabbitmq.reconnecting_connection import ReconnectingConnection
from aoi_events.errors import BrokerUnavailable, InfrastructureError, RequestTimeout
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Inbound, Outbound, Published
from aoi_events.ports.metrics import BrokerMetrics

log = get_logger(__name__)

_ANSWERS_WITHIN: Final = 4.0
"""Seconds for RabbitMQ to answer on the channel, after a request had no answer."""
REPLY_TO = "amq.rabbitmq.reply-to"
"""The pseudo-queue; the broker puts the real address in its place on the way."""


class RabbitRequester:
    """See :class:`aoi_events.ports.broker.Requester`.

    RabbitMQ answers on the channel that published the request, so each requester has a channel of
    its own; when that is lost, the answers are lost too, and the next call opens another.
    """

    def __init__(
        self, connection: ReconnectingConnection, *, user: str, metrics: BrokerMetrics = NO_METRICS
    ) -> None:
        self._connection = connection
        self._user = user
        self._metrics = metrics
        self._calls = PendingCalls()
        self._publishing: PublishChannel | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._checking: asyncio.Task[None] | None = None

    async def call(self, request: Outbound, *, timeout: float) -> Inbound:
        """Publish a request and wait for its answer, ``timeout`` seconds at most."""
        try:
            return await self._calls.call(
                request, self._publish, reply_to=REPLY_TO, timeout=timeout
            )
        except RequestTimeout:
            if self._checking is None and self._publishing is not None:
                self._checking = asyncio.create_task(self._check(self._publishing))
            raise

    async def close(self) -> None:
        """Stop waiting; calls in flight fail."""
        self._closed = True
        if self._checking is not None:
            self._checking.cancel()
        publishing, self._publishing = self._publishing, None
        self._calls.fail()
        if publishing is not None and not publishing.closed:
            await publishing.amqp_channel.close()

    async def _publish(self, request: Outbound) -> Published:
        publishing = await self.ready()
        (published,) = await publishing.publish([request])
        self._metrics.confirmed((published,))
        return published

    async def ready(self) -> PublishChannel:
        """The channel on which answers arrive; it is opened if it is lost, or not open yet."""
        async with self._opening:
            if self._closed:
                raise BrokerUnavailable("this requester is closed")
            if self._publishing is None or self._publishing.closed:
                connection = self._connection.required()
                async with broker_faults("opening a reply address"):
                    publishing = await PublishChannel.open(connection, user=self._user)
                    await publishing.amqp_channel.basic_consume(
                        REPLY_TO, self._answered, no_ack=True
                    )
                publishing.amqp_channel.closing.add_done_callback(lambda _: self._calls.fail())
                self._publishing = publishing
            return self._publishing

    async def _check(self, publishing: PublishChannel) -> None:
        """Connect again, to another node if there is one, if the channel has stopped.

        Its node can hang on another one, that of a queue say, while the connection shows life.
        """
        try:
            if await self._connection.blocked():
                return
            async with broker_faults("asking a channel", within=_ANSWERS_WITHIN):
                # It changes nothing, and no user needs a permission for it.
                await publishing.amqp_channel.basic_qos(prefetch_count=0)
        except InfrastructureError:
            if self._connection.present() is publishing.amqp_channel.connection:
                log.warning("amqp_channel_silent", seconds=_ANSWERS_WITHIN)
                self._connection.cut()
        finally:
            self._checking = None

    async def _answered(self, message: DeliveredMessage) -> None:
        self._calls.answered(inbound_of(message))
