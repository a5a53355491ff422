"""Runs an endpoint: its server, application and requests to the workers."""

from __future__ import annotations

import asyncio
from functools import partial

from aoi_events.endpoint.app import application, outermost
from aoi_events.endpoint.context import EndpointContext
from aoi_events.endpoint.sender_requests import SenderRequests
from aoi_events.endpoint.server import EndpointServer
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.limiters import RateLimiter
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.platform.tasks import unless_set
from aoi_events.ports.broker import Broker
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import EndpointMetrics, Level

_log = get_logger(__name__)


class Endpoint:
    """An endpoint, to be run once. ``started`` is set when senders can connect to ``port``."""

    def __init__(
        self,
        broker: Broker,
        *,
        settings: EndpointSettings | None = None,
        clock: Clock | None = None,
        dice: Dice | None = None,
        metrics: EndpointMetrics = NO_METRICS,
    ) -> None:
        self.settings = EndpointSettings() if settings is None else settings
        self.started = asyncio.Event()
        self.port = self.settings.port
        self._broker = broker
        self._clock = SystemClock() if clock is None else clock
        self._dice = SystemDice() if dice is None else dice
        self._server = EndpointServer(self.settings, metrics)
        self._requests: SenderRequests | None = None
        self._metrics = metrics
        metrics.watch(
            {
                Level.SENDERS: lambda: self._server.connections,
                Level.WAITING: lambda: self.waiting,
            }
        )

    @property
    def origin(self) -> str:
        """The beginning of every URL of this endpoint."""
        return self.settings.public_url or f"http://localhost:{self.port}"

    @property
    def listening(self) -> bool:
        """Whether senders can connect now."""
        return self._server.listening

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer of the workers."""
        return 0 if self._requests is None else self._requests.waiting

    async def run(self, stop: asyncio.Event) -> None:
        """Serve senders until ``stop`` is set, then drain. Cancel it to stop at once.

        Raises ConfigurationError when the port cannot be used.
        """
        self.port = await self._server.bind()
        try:
            requester = await unless_set(
                stop,
                retry(self._broker.requester, policy=RetryPolicy(), sleep=self._clock.sleep),
            )
            if requester is None:
                return
            try:
                settings = self.settings
                self._requests = SenderRequests(requester, settings, self._dice)
                context = EndpointContext(
                    settings=settings,
                    origin=self.origin,
                    requests=self._requests,
                    senders=RateLimiter(
                        rate=settings.sender_per_second, burst=settings.sender_burst
                    ),
                    addresses=RateLimiter(
                        rate=settings.address_per_second, burst=settings.address_burst
                    ),
                    clock=self._clock,
                    dice=self._dice,
                    metrics=self._metrics,
                )
                await self._server.serve(application(context), partial(outermost, context))
                self.started.set()
                _log.info("endpoint_listens", host=settings.host, port=self.port)
                await stop.wait()
                _log.info("endpoint_drains", connections=self._server.connections)
                await self._server.drain(settings.drain_within)
            finally:
                await requester.close()
        finally:
            await self._server.close()
