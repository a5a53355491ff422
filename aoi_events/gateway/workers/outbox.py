"""What the gateway tells the workers: outcomes, and sessions that ended.

Batched over all sessions: whatever waits goes out together, and nothing waits for more. It stays
here until the broker confirmed it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeItem
from aoi_events.contracts.identifiers import ClientId
from aoi_events.contracts.requests import DisconnectClientV1
from aoi_events.errors import InfrastructureError
from aoi_events.gateway.protocol.actions import Leave
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Broker, Outbound, Published
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import NO_METRICS, GatewayMetrics
from aoi_events.topology import OUTCOME, OUTCOMES, REQUESTS

__all__ = ["Outbox"]

_log = get_logger(__name__)
_PER_MESSAGE = 200
"""Outcomes in one message: some 50 KiB."""
_AT_ONCE = 2_000
"""Entries in one round of publishing."""
_PAUSE = 0.2
"""Seconds before the broker is tried again."""

Entry = OutcomeItem | Leave


class Outbox:
    """At most ``bound`` entries; beyond that the oldest are given up, and counted."""

    def __init__(
        self, broker: Broker, clock: Clock, *, bound: int, metrics: GatewayMetrics = NO_METRICS
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._bound = bound
        self._metrics = metrics
        self._entries: deque[Entry] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.given_up = 0

    def __len__(self) -> int:
        """How many entries wait for their confirm, the round under way not counted."""
        return len(self._entries)

    def report(self, outcome: OutcomeItem) -> None:
        """Tell the outcome worker."""
        self._put(outcome)

    def leave(self, client: ClientId, epoch: int) -> None:
        """Tell the activation worker that presence of this epoch ended."""
        self._put(Leave(client, epoch))

    def _put(self, entry: Entry) -> None:
        if len(self._entries) >= self._bound:
            # The deadline of its delivery, or a lost route, says the same later.
            self._entries.popleft()
            self.given_up += 1
            self._metrics.gave_up()
        self._entries.append(entry)
        self._filled.set()
        self._empty.clear()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            if not self._entries:
                self._filled.clear()
                self._empty.set()
                await self._filled.wait()
            entries = [self._entries.popleft() for _ in range(min(_AT_ONCE, len(self._entries)))]
            left = await self._publish(entries)
            if left:
                self._entries.extendleft(reversed(left))
                await self._clock.sleep(_PAUSE)

    async def flush(self) -> None:
        """Return when everything was confirmed."""
        await self._empty.wait()

    async def _publish(self, entries: Sequence[Entry]) -> list[Entry]:
        """Publish, and return those entries that the broker did not take."""
        groups = list(_grouped(entries))
        try:
            results = await self._broker.publish([_message(group) for group in groups])
        except InfrastructureError as error:
            _log.warning("outcomes_wait", entries=len(entries), error=str(error))
            return list(entries)
        left = [
            entry
            for group, result in zip(groups, results, strict=True)
            if result is not Published.CONFIRMED
            for entry in group
        ]
        if left:
            _log.warning("outcomes_refused", entries=len(left))
        return left


def _grouped(entries: Iterable[Entry]) -> Iterable[Sequence[Entry]]:
    outcomes = iter([entry for entry in entries if isinstance(entry, OutcomeItem)])
    while group := list(islice(outcomes, _PER_MESSAGE)):
        yield group
    yield from ([entry] for entry in entries if isinstance(entry, Leave))


def _message(group: Sequence[Entry]) -> Outbound:
    first = group[0]
    if isinstance(first, Leave):
        return Outbound(
            exchange=REQUESTS,
            routing_key="client.disconnected",
            body=DisconnectClientV1(version=1, client=first.client, epoch=first.epoch).encode(),
        )
    outcomes = tuple(entry for entry in group if isinstance(entry, OutcomeItem))
    body = OutcomeBatchV1(items=outcomes).encode()
    return Outbound(exchange=OUTCOMES, routing_key=OUTCOME, body=body)
