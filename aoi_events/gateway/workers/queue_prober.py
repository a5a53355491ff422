"""Publishes the probes of the gateway's queue, and replaces a queue that fails them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aoi_events.errors import InfrastructureError
from aoi_events.gateway.protocol.queue_probe import Effect, QueueProbe, ReopenQueue, SendProbe
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import GatewayContext
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published
from aoi_events.topology import PROBES, gateway_queue

_log = get_logger(__name__)


class QueueProber:
    """Performs what :class:`~aoi_events.gateway.protocol.queue_probe.QueueProbe` decides.

    ``node_name`` returns the present name of the gateway's queue.
    """

    def __init__(
        self,
        broker: Broker,
        gateway: GatewayContext,
        settings: GatewaySettings,
        *,
        node_name: Callable[[], str],
    ) -> None:
        self._broker = broker
        self._gateway = gateway
        self._node_name = node_name
        self._probe = QueueProbe(every=settings.probe_every, within=settings.probe_within)
        self._number = 0
        self._wanted = asyncio.Event()
        self._reported = False
        self._stopped = False

    @property
    def fault(self) -> str | None:
        """Why it is not proved that the queue takes messages; None: it is proved."""
        return self._probe.fault

    async def run(self) -> None:
        """Publish the probes that are wanted, until cancelled.

        A publish that gets no answer ends when the connection is replaced.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            number = self._number
            try:
                (result,) = await self._broker.publish([_message(self._node_name(), number)])
            except InfrastructureError as error:
                self._probe.unpublished(number, str(error), self._gateway.elapsed)
                self._report()
            else:
                if result is Published.RETURNED:
                    await self._perform(self._probe.returned(number, self._gateway.elapsed))

    def stop(self) -> None:
        """Probe no more, since the queue is about to be deleted."""
        self._stopped = True

    async def opened(self) -> None:
        """The queue is open under a new name."""
        await self._perform(self._probe.opened(self._gateway.elapsed))

    async def tick(self) -> None:
        """Time has passed."""
        blocked = await self._broker.blocked()
        await self._perform(self._probe.tick(self._gateway.elapsed, blocked=blocked))
        if blocked:
            self._report()

    async def unreachable(self) -> None:
        """A worker found the queue gone."""
        await self._perform(self._probe.unreachable(self._gateway.elapsed))

    def arrived(self, message: Inbound) -> bool:
        """A message arrived on the queue; returns whether it is a probe."""
        elapsed = self._gateway.elapsed
        self._probe.arrived(elapsed)
        if message.exchange != PROBES:
            return False
        if message.body == b"%d" % self._number:
            self._probe.came_back(self._number, elapsed)
        if self._reported and self._probe.fault is None:
            self._reported = False
            _log.info("gateway_queue_proved", node=self._node_name())
        return True

    async def _perform(self, effect: Effect | None) -> None:
        if self._stopped:
            return
        match effect:
            case SendProbe(number):
                self._number = number
                self._wanted.set()
            case ReopenQueue():
                self._report()
                self._gateway.metrics.queue_failed()
                await self._broker.reconnect()
            case None:
                pass

    def _report(self) -> None:
        """Log why the queue is not proved, once until it is proved again."""
        if not self._reported and self._probe.fault is not None:
            self._reported = True
            _log.warning("gateway_queue_unproved", node=self._node_name(), reason=self._probe.fault)


def _message(node: str, number: int) -> Outbound:
    return Outbound(
        exchange=PROBES,
        routing_key=gateway_queue(node),
        body=b"%d" % number,
        persistent=False,
        content_type="text/plain",
    )
