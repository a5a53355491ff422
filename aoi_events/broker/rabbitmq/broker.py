"""One user's connections to RabbitMQ: one to consume, another to publish."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Self

from aio_pika.abc import AbstractConnection
from yarl import URL

from aoi_events.broker.late_fallbacks import LateFallbacks
from aoi_events.broker.publish_with_fallback import publish_with_fallback
from aoi_events.broker.rabbitmq.addresses import BrokerAddresses
from aoi_events.broker.rabbitmq.declare import declare_topology
from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.broker.rabbitmq.lenient_decoders import install_lenient_decoders
from aoi_events.broker.rabbitmq.publish_channel import PublishChannel
from aoi_events.broker.rabbitmq.reconnecting_connection import HEARTBEAT, ReconnectingConnection
from aoi_events.broker.rabbitmq.requester import RabbitRequester
from aoi_events.broker.rabbitmq.subscription import RabbitSubscription
from aoi_events.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from aoi_events.platform.broker_url import broker_urls
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import RetryPolicy
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.metrics import BrokerMetrics
from aoi_events.topology import Queue, Topology

FIRST_CONNECTION = RetryPolicy(first=0.2, most=3.0, jitter=0.3, attempts=8)
"""About ten seconds: a broker that starts beside us is met, a wrong address is reported."""
SETTLED_BEFORE_CLOSE = 0.25
"""Seconds between the last settlement and closing: a quorum queue can ignore acks that arrive
just before their channel closes (rabbitmq-server #10327)."""
PUBLISH_WITHIN = 30.0
"""Seconds for all confirms of one publish."""
_BLOCKED: Final = "it is short of memory or disk (rabbitmq-diagnostics alarms)"
_SILENT: Final = (
    "it is silent, or a queue lost most of the nodes that have it "
    "(rabbitmq-diagnostics cluster_status)"
)


class RabbitBroker:
    """See :class:`aoi_events.ports.broker.Broker`.

    Consuming and publishing have a connection each, because RabbitMQ stops reading from a
    connection that publishes too fast, and the acknowledgements would wait behind it.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "aoi",
        publish_within: float = PUBLISH_WITHIN,
        heartbeat: int = HEARTBEAT,
        metrics: BrokerMetrics = NO_METRICS,
    ) -> None:
        """``publish_within``: seconds after which a publish whose confirms are missing fails;
        ``heartbeat``: seconds, twice which a connection may be silent before it is replaced.

        A broker that is short of memory or disk reads no publishes and does not report that to
        those who wait: without a limit they would wait as long as the shortage lasts.
        """
        if publish_within <= 0:
            raise ValueError(f"publish_within must be above 0 s, not {publish_within}")
        install_lenient_decoders()
        try:
            urls = [URL(parts.geturl()) for parts in broker_urls(url)]
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.user: Final = urls[0].user or "guest"
        self._topologies: list[Topology] = []
        self._metrics = metrics
        addresses = BrokerAddresses(urls)
        self._consuming = ReconnectingConnection(
            addresses,
            name=f"{name} consuming",
            prepare=self._declare_all,
            reconnected=lambda: metrics.reconnected("consuming"),
            heartbeat=heartbeat,
        )
        self._publishing = ReconnectingConnection(
            addresses,
            name=f"{name} publishing",
            reconnected=lambda: metrics.reconnected("publishing"),
            heartbeat=heartbeat,
        )
        self._publish_channel: PublishChannel | None = None
        self._opening = asyncio.Lock()
        self._subscriptions: list[RabbitSubscription] = []
        self._requesters: list[RabbitRequester] = []
        self._publish_within = publish_within
        self._late = LateFallbacks(self.publish)
        self._closed = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str = "aoi",
        retry_policy: RetryPolicy = FIRST_CONNECTION,
        publish_within: float = PUBLISH_WITHIN,
        heartbeat: int = HEARTBEAT,
        metrics: BrokerMetrics = NO_METRICS,
    ) -> Self:
        """Connect; ``name`` is shown by RabbitMQ's management; ``publish_within`` and ``heartbeat``
        in seconds.

        Raises BrokerUnavailable after the last attempt of ``retry_policy``, and ConfigurationError
        at once when the broker does not let this user in.
        """
        broker = cls(
            url, name=name, publish_within=publish_within, heartbeat=heartbeat, metrics=metrics
        )
        try:
            await broker._consuming.open(retry_policy)
            await broker._publishing.open(retry_policy)
        except BaseException:
            await broker.close()
            raise
        return broker

    async def declare(self, topology: Topology) -> None:
        """Declare exchanges, queues and bindings, now and after every reconnection."""
        async with broker_faults("declaring the topology"):
            await declare_topology(self._consuming.aio_pika_connection(), topology)
        if topology not in self._topologies:
            self._topologies.append(topology)

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish all, pipelined; one result per message, in order."""
        try:
            async with asyncio.timeout(self._publish_within) as limit:
                return await publish_with_fallback(self._publish, messages)
        except TimeoutError:
            if not limit.expired():
                raise
            blocked = await self.blocked()
            # Later confirms are of publishes that were reported as uncertain.
            if self._publish_channel is not None and not self._publish_channel.closed:
                self._publishing.cut()
            raise BrokerUnavailable(
                f"the broker did not confirm within {self._publish_within:g} s; "
                + (_BLOCKED if blocked else _SILENT)
            ) from None

    async def subscribe(self, queue: Queue, *, prefetch: int) -> RabbitSubscription:
        """Consume ``queue``; it is declared first if it is exclusive."""
        self._check()
        subscription = RabbitSubscription(
            self._consuming, queue, prefetch=prefetch, redeclare=self._redeclare
        )
        await subscription.open()
        self._subscriptions = [each for each in self._subscriptions if not each.over]
        self._subscriptions.append(subscription)
        return subscription

    async def requester(self) -> RabbitRequester:
        """A new requester with a reply address of its own."""
        self._check()
        requester = RabbitRequester(self._publishing, user=self.user, metrics=self._metrics)
        await requester.ready()
        self._requesters.append(requester)
        return requester

    async def healthy(self) -> bool:
        """Whether both connections are up now."""
        return self._consuming.present() is not None and self._publishing.present() is not None

    async def connected(self) -> None:
        """Wait until both connections are up."""
        await self._consuming.up()
        await self._publishing.up()

    async def blocked(self) -> bool:
        """Whether RabbitMQ has reported an alarm to the connection that publishes."""
        return await self._publishing.blocked()

    async def reconnect(self) -> None:
        """Cut both connections; each connects again."""
        self._consuming.cut()
        self._publishing.cut()

    async def close(self) -> None:
        """Disconnect, after the broker had time to process the last acks."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(each.stop() for each in self._subscriptions))
        settled_at = max((each.settled_at for each in self._subscriptions), default=0.0)
        pause = settled_at + SETTLED_BEFORE_CLOSE - asyncio.get_running_loop().time()
        if pause > 0:
            await asyncio.sleep(pause)
        for subscription in self._subscriptions:
            await subscription.close()
        for requester in self._requesters:
            await requester.close()
        await self._publishing.close()
        await self._late.close()
        await self._consuming.close()

    async def _publish(self, messages: Sequence[Outbound]) -> list[Published]:
        publish_channel = await self._ready()
        try:
            results = await publish_channel.publish(messages)
        except (BrokerUnavailable, PublishRefused, asyncio.CancelledError):
            self._metrics.uncertain(len(messages))
            raise
        self._metrics.confirmed(results, messages)
        return results

    async def _ready(self) -> PublishChannel:
        if self._publish_channel is None or self._publish_channel.closed:
            async with self._opening:
                if self._publish_channel is None or self._publish_channel.closed:
                    self._check()
                    connection = self._publishing.required()
                    async with broker_faults("opening a channel to publish"):
                        self._publish_channel = await PublishChannel.open(
                            connection, user=self.user, late=self._late.add
                        )
        return self._publish_channel

    async def _declare_all(self, connection: AbstractConnection) -> None:
        for topology in self._topologies:
            await declare_topology(connection, topology)

    async def _redeclare(self) -> None:
        async with broker_faults("declaring the topology again"):
            await self._declare_all(self._consuming.aio_pika_connection())

    def _check(self) -> None:
        if self._closed:
            raise BrokerUnavailable("this broker connection was closed")
