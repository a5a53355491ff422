"""Messages that belong to no other worker: unknown requests, and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from aoi_events.broker.topology import DEAD, UNROUTABLE
from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound

__all__ = ["DeadLetterHandler", "UnroutableHandler"]


class UnroutableHandler:
    """Takes ``aoi.unroutable``: requests whose routing key nothing binds; answers, parks."""

    queue = UNROUTABLE

    def read(self, message: Inbound) -> Inbound:
        """Always a Refusal (unknown_request)."""
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"no request is named {message.routing_key[:80]!r}; there are: "
            + ", ".join(sorted(REQUESTS)),
        )

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Nothing gets here."""
        return ()

    def abandoned(self, item: Inbound) -> Sequence[Outbound]:
        """Nothing gets here."""
        return ()


class DeadLetterHandler:
    """Takes ``aoi.dead``: messages that ended several processes, or were refused too often."""

    queue = DEAD

    def read(self, message: Inbound) -> Inbound:
        """Always a Refusal (internal), which parks it; it has no queue to be replayed into."""
        raise Refusal(ErrorCode.INTERNAL, "delivered too often without success; set aside")

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Nothing gets here."""
        return ()

    def abandoned(self, item: Inbound) -> Sequence[Outbound]:
        """Nothing gets here."""
        return ()
