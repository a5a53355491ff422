"""A connection of one user to the in-process server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aoi_events.broker.memory.requester import MemoryRequester
from aoi_events.broker.memory.server import MemoryServer
from aoi_events.broker.memory.subscription import MemorySubscription
from aoi_events.broker.publish_with_fallback import publish_with_fallback
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.message_ids import MessageIds
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.metrics import BrokerMetrics
from aoi_events.topology import Queue, QueueKind, Topology


class MemoryBroker:
    """See :class:`aoi_events.ports.broker.Broker`; everything is lost with the process.

    Connections that shall reach each other share a :class:`MemoryServer`; without one, this is
    the only connection of a server of its own.
    """

    def __init__(
        self,
        server: MemoryServer | None = None,
        *,
        user: str = "aoi",
        metrics: BrokerMetrics = NO_METRICS,
    ) -> None:
        self.server = MemoryServer() if server is None else server
        self.user: Final = user
        self._metrics = metrics
        self._ids = MessageIds()
        self._subscriptions: list[MemorySubscription] = []
        self._requesters: list[MemoryRequester] = []
        self._connection = object()
        self._closed = False
        self.server.connect(self)

    async def declare(self, topology: Topology) -> None:
        """Declare exchanges, queues and bindings."""
        self._check()
        self.server.declare(topology)

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish all; one result per message, in order."""
        return await publish_with_fallback(self._publish, messages)

    async def _publish(self, messages: Sequence[Outbound]) -> list[Published]:
        self._check()
        connection = self._connection
        # A real broker answers later; callers that forget that fail here already.
        await asyncio.sleep(0)
        if connection is not self._connection:
            self._metrics.uncertain(len(messages))
            raise BrokerUnavailable("the connection was lost before the confirm")
        self._check()
        results = [
            self.server.publish(message, user=self.user, message_id=message_id)
            for message, message_id in zip(messages, self._ids.now(), strict=False)
        ]
        self._metrics.confirmed(results, messages)
        return results

    async def subscribe(self, queue: Queue, *, prefetch: int) -> MemorySubscription:
        """Consume ``queue``; it is declared first if it is exclusive."""
        self._check()
        if queue.kind is QueueKind.EXCLUSIVE:
            source = self.server.declare_queue(queue, owner=self._connection)
        else:
            source = self.server.queue(queue.name)
        subscription = MemorySubscription(
            source, prefetch=prefetch, delete=self.server.delete_queue
        )
        self._subscriptions = [each for each in self._subscriptions if not each.over]
        self._subscriptions.append(subscription)
        return subscription

    async def requester(self) -> MemoryRequester:
        """A new requester with a reply address of its own."""
        self._check()
        requester = MemoryRequester(self.server, self.publish, self._requesters.remove)
        self._requesters.append(requester)
        return requester

    async def healthy(self) -> bool:
        """Whether the connection is up now."""
        return self.server.running and not self._closed

    async def connected(self) -> None:
        """Wait until the server runs."""
        await self.server.started.wait()

    async def blocked(self) -> bool:
        """Whether publishes must wait: never, as this broker has no alarms."""
        return False

    async def reconnect(self) -> None:
        """Lose the connection, and regain it."""
        if await self.healthy():
            self.lose()
            self.regain()

    async def close(self) -> None:
        """Close the connection; what was not settled is delivered to others."""
        if self._closed:
            return
        for subscription in self._subscriptions:
            await subscription.stop()
        self.lose()
        self._closed = True
        self.server.disconnect(self)

    def lose(self) -> None:
        """Lose the connection, with its exclusive queues and everything unsettled."""
        for subscription in self._subscriptions:
            subscription.lose()
        for requester in self._requesters:
            requester.lose()
        self._subscriptions = [each for each in self._subscriptions if not each.over]
        self.server.drop_queues_of(self._connection)
        self._connection = object()

    def regain(self) -> None:
        """Consume again over the connection that replaced the lost one."""
        for purpose in ("consuming", "publishing"):
            self._metrics.reconnected(purpose)
        for requester in self._requesters:
            requester.regain()
        for subscription in self._subscriptions:
            subscription.regain()

    def _check(self) -> None:
        if self._closed:
            raise BrokerUnavailable("this connection was closed")
        if not self.server.running:
            raise BrokerUnavailable("the in-process broker is stopped")
