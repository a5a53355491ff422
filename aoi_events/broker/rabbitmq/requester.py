"""Requests with answers, over RabbitMQ's direct reply-to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

from aiormq.abc import DeliveredMessage

from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.messages import inbound_of
from aoi_events.broker.rabbitmq.publish_channel import Lane
from aoi_events.broker.rabbitmq.reconnecting_connection import Link
from aoi_events.errors import BrokerUnavailable, PublishRefused, RequestTimeout
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Inbound, Outbound, Published
from aoi_events.ports.metrics import BrokerMetrics

__all__ = ["RabbitRequester"]

REPLY_TO = "amq.rabbitmq.reply-to"
"""The pseudo-queue; the broker puts the real address in its place on the way."""


class RabbitRequester:
    """See :class:`aoi_events.ports.broker.Requester`.

    Direct reply-to answers on the channel that published the request, so each requester has a
    lane of its own; when that is lost, the answers are lost too, and the next call opens another.
    """

    def __init__(self, link: Link, *, user: str, metrics: BrokerMetrics = NO_METRICS) -> None:
        self._link = link
        self._user = user
        self._metrics = metrics
        self._numbers = count(1)
        self._calls: dict[str, asyncio.Future[Inbound]] = {}
        self._lane: Lane | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Make sure that answers can arrive."""
        await self._ready()

    async def call(self, request: Outbound, *, timeout: float) -> Inbound:
        """Publish a request and wait for its answer, ``timeout`` seconds at most."""
        correlation_id = str(next(self._numbers))
        answer: asyncio.Future[Inbound] = asyncio.get_running_loop().create_future()
        self._calls[correlation_id] = answer
        outbound = replace(
            request, correlation_id=correlation_id, reply_to=REPLY_TO, mandatory=True
        )
        try:
            async with asyncio.timeout(timeout):
                lane = await self._ready()
                (published,) = await lane.publish([outbound])
                self._metrics.confirmed((published,))
                if published is not Published.CONFIRMED:
                    raise PublishRefused(
                        f"no queue took {request.routing_key!r}: {published.value}"
                    )
                return await answer
        except TimeoutError:
            raise RequestTimeout(
                f"no answer to {request.routing_key!r} within {timeout:g} s"
            ) from None
        finally:
            del self._calls[correlation_id]
            answer.cancel()

    async def close(self) -> None:
        """Stop waiting; calls under way fail."""
        self._closed = True
        lane, self._lane = self._lane, None
        self._fail()
        if lane is not None and not lane.closed:
            await lane.channel.close()

    async def _ready(self) -> Lane:
        async with self._opening:
            if self._closed:
                raise BrokerUnavailable("this requester is closed")
            if self._lane is None or self._lane.closed:
                connection = self._link.required()
                async with broker_faults("opening a reply address"):
                    lane = await Lane.open(connection, user=self._user)
                    await lane.channel.basic_consume(REPLY_TO, self._answered, no_ack=True)
                lane.channel.closing.add_done_callback(lambda _: self._fail())
                self._lane = lane
            return self._lane

    async def _answered(self, message: DeliveredMessage) -> None:
        inbound = inbound_of(message, 0)
        answer = self._calls.get(inbound.correlation_id or "")
        if answer is not None and not answer.done():
            answer.set_result(inbound)

    def _fail(self) -> None:
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("the connection was lost before the answer"))
