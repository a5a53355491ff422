"""Parking: set a message aside in the store, redacted and bounded, before it is acknowledged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aoi_events.domain.parked import ParkedMessage, redact
from aoi_events.ports.broker import Inbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store

__all__ = ["Parked", "Parking"]


@dataclass(frozen=True, slots=True)
class Parked:
    """A message to park and why; ``code`` is stable, ``reason`` for people."""

    message: Inbound
    code: str
    reason: str


class Parking:
    """Parks messages of one queue."""

    def __init__(self, store: Store, clock: Clock, *, quota: int) -> None:
        self._store = store
        self._clock = clock
        self._quota = quota

    async def park(self, queue: str, entries: Sequence[Parked]) -> int:
        """Returns how many were stored; those over the sender's quota are counted only."""
        if not entries:
            return 0
        now = self._clock.now()
        messages = []
        for entry in entries:
            message = entry.message
            body, obstacle = redact(message.body)
            # The same message parked twice (a crash before its ack) is one row.
            identity = f"{queue}\0{message.message_id}".encode() + b"\0" + message.body
            messages.append(
                ParkedMessage(
                    id="prk_" + hashlib.sha256(identity).hexdigest()[:24],
                    parked_at=now,
                    queue=queue,
                    routing_key=message.routing_key[:255],
                    exchange=message.exchange[:255],
                    sender=(message.user_id or "")[:255],
                    code=entry.code,
                    reason=entry.reason[:500],
                    body=body,
                    replayable=obstacle is None,
                    obstacle=obstacle,
                )
            )
        async with self._store.transaction() as tx:
            return await tx.park(messages, quota=self._quota)
