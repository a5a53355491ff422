"""The objects that the handlers of requests share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aoi_events.endpoint.refusals import of_code
from aoi_events.endpoint.sender_requests import SenderRequests
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ErrorCode
from aoi_events.platform.limiters import RateLimiter, network_of
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import EndpointMetrics


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """Shared by all handlers; ``origin`` begins all URLs, and is the audience of VAPID tokens."""

    settings: EndpointSettings
    origin: str
    requests: SenderRequests
    senders: RateLimiter
    addresses: RateLimiter
    clock: Clock
    dice: Dice
    metrics: EndpointMetrics

    def limit_sender(self, sender: str) -> None:
        """Count a request of ``sender``. Raises HttpRefusal (429) above the rate limit."""
        self._limit(self.senders, sender)

    def limit_address(self, host: str | None) -> None:
        """Count a request from an address. Raises HttpRefusal (429) above the rate limit."""
        self._limit(self.addresses, network_of(host))

    def _limit(self, limiter: RateLimiter, key: str) -> None:
        wait = limiter.take(key, self.clock.now().timestamp())
        if wait:
            raise of_code(
                ErrorCode.QUOTA_EXCEEDED,
                "too many requests; wait as long as Retry-After says",
                wait=max(1, math.ceil(wait)),
            )
