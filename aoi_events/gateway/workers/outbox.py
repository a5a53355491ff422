"""Publishes outcomes and ends of presences to the workers, batched over all sessions.

An entry is published at once, together with all others that wait, and stays here until the broker
has confirmed it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeItem
from aoi_events.contracts.requests import DisconnectClientV1
from aoi_events.errors import InfrastructureError
from aoi_events.gateway.protocol.effects import EndPresence
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker, Outbound, Published
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import GatewayMetrics
from aoi_events.topology import OUTCOME, OUTCOMES, REQUESTS

_log = get_logger(__name__)
_PER_MESSAGE = 200
"""Outcomes in one message: some 50 KiB."""
_AT_ONCE = 2_000
"""Entries that are published together."""
_PAUSE = 0.2
"""Seconds between two attempts to publish."""

Entry = OutcomeItem | EndPresence


class Outbox:
    """A queue of at most ``bound`` entries; above that the oldest are dropped and counted."""

    def __init__(
        self, broker: Broker, clock: Clock, *, bound: int, metrics: GatewayMetrics = NO_METRICS
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._bound = bound
        self._metrics = metrics
        self._seldom = SeldomLog(_log)
        self._entries: deque[Entry] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.dropped = 0

    def __len__(self) -> int:
        """How many entries wait, without those that are being published."""
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Add an outcome, for the outcome worker, or the end of a presence, for activation."""
        if len(self._entries) >= self._bound:
            # The deadline of its delivery, or a lost route, replaces the entry later.
            self._entries.popleft()
            self.dropped += 1
            self._metrics.gave_up()
        self._entries.append(entry)
        self._filled.set()
        self._empty.clear()

    async def run(self) -> None:
        """Publish entries until cancelled."""
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
        """Wait until every entry is confirmed."""
        await self._empty.wait()

    async def _publish(self, entries: Sequence[Entry]) -> list[Entry]:
        """Publish entries; return those that the broker did not confirm."""
        groups = list(_grouped(entries))
        try:
            results = await self._broker.publish([_message(group) for group in groups])
        except InfrastructureError as error:
            self._seldom.warning("outcomes_not_published", entries=len(entries), error=str(error))
            return list(entries)
        left = [
            entry
            for group, result in zip(groups, results, strict=True)
            if result is not Published.CONFIRMED
            for entry in group
        ]
        if left:
            self._seldom.warning("outcomes_not_confirmed", entries=len(left))
        return left


def _grouped(entries: Iterable[Entry]) -> Iterable[Sequence[Entry]]:
    outcomes = iter([entry for entry in entries if isinstance(entry, OutcomeItem)])
    while group := list(islice(outcomes, _PER_MESSAGE)):
        yield group
    yield from ([entry] for entry in entries if isinstance(entry, EndPresence))


def _message(group: Sequence[Entry]) -> Outbound:
    first = group[0]
    if isinstance(first, EndPresence):
        return Outbound(
            exchange=REQUESTS,
            routing_key="client.disconnected",
            body=DisconnectClientV1(version=1, client=first.client, epoch=first.epoch).encode(),
        )
    outcomes = tuple(entry for entry in group if isinstance(entry, OutcomeItem))
    body = OutcomeBatchV1(items=outcomes).encode()
    return Outbound(exchange=OUTCOMES, routing_key=OUTCOME, body=body)
