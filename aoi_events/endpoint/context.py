"""What every handler of a request works with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aoi_events.endpoint.connection_limiter import Rates, network_of
from aoi_events.endpoint.refusals import of_code
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.endpoint.worker_rpc import Desk
from aoi_events.errors import ErrorCode
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import EndpointMetrics

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """``origin`` begins every URL that is given out, and is the audience of VAPID tokens."""

    settings: EndpointSettings
    origin: str
    desk: Desk
    senders: Rates
    addresses: Rates
    clock: Clock
    dice: Dice
    metrics: EndpointMetrics

    def count(self, sender: str) -> None:
        """Count a request of ``sender``. Raises HttpRefusal (429) when there were too many."""
        self._take(self.senders, sender)

    def count_address(self, host: str | None) -> None:
        """Count a request from an address. Raises HttpRefusal (429)."""
        self._take(self.addresses, network_of(host))

    def _take(self, rates: Rates, caller: str) -> None:
        wait = rates.take(caller, self.clock.now().timestamp())
        if wait:
            raise of_code(
                ErrorCode.QUOTA_EXCEEDED,
                "too many requests; wait as long as Retry-After says",
                wait=max(1, math.ceil(wait)),
            )
