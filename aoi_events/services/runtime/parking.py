"""Parking: store a message, redacted and bounded, before it is acknowledged unhandled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from aoi_events.contracts.requests import CLIENT_HEADER
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.domain.parked import ParkedMessage, redact
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker, Inbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Store
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.messages.quarantine import to_replay


@dataclass(frozen=True, slots=True)
class Parked:
    """A message to park and why; ``code`` is stable, ``reason`` for people."""

    message: Inbound
    code: str
    reason: str


@dataclass(eq=False)
class Parking:
    """Parks messages; those over a sender's ``quota`` are counted only."""

    store: Store
    clock: Clock
    _: KW_ONLY
    quota: int
    metrics: WorkerMetrics = NO_METRICS

    async def park(self, queue: str, entries: Sequence[Parked]) -> int:
        """Park messages of ``queue``; returns how many were stored."""
        if not entries:
            return 0
        now = self.clock.now()
        rows = {row.id: row for row in (_row(queue, entry, now) for entry in entries)}
        async with self.store.transaction() as tx:
            stored = await tx.park(list(rows.values()), quota=self.quota)
        self.metrics.parked(queue, [rows[id_].code for id_ in stored])
        return len(stored)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay. ``done``: replayed IDs; ``kept``: ID → why not, for the others."""

    done: tuple[str, ...]
    kept: dict[str, str]


async def replay(store: Store, broker: Broker, ids: Collection[str]) -> Replayed:
    """Send parked messages again, each alone through its queue's quarantine, on behalf of its
    sender.

    They are deleted once the broker has them; if they fail again, they are parked again. A message
    that was redacted or cut cannot be sent again. Raises BrokerUnavailable, PublishRefused and
    StoreUnavailable; then nothing was deleted.
    """
    good, kept = await replayable(store, ids)
    await publish_all(broker, [to_replay(row) for row in good])
    async with store.transaction() as tx:
        await tx.drop_parked([row.id for row in good])
    return Replayed(tuple(row.id for row in good), kept)


async def replayable(
    store: Store, ids: Collection[str]
) -> tuple[Sequence[ParkedMessage], dict[str, str]]:
    """The messages that can be sent again, and for the others ID → why not."""
    async with store.transaction(read_only=True) as tx:
        found = {row.id: row for row in await tx.parked(ids=ids, limit=len(ids) or 1)}
    kept = {
        id_: "there is no parked message of that ID" if row is None else str(row.obstacle)
        for id_ in ids
        if (row := found.get(id_)) is None or not row.replayable
    }
    return [row for row in found.values() if row.replayable], kept


def _row(queue: str, entry: Parked, now: datetime) -> ParkedMessage:
    message = entry.message
    body, obstacle = redact(message.body)
    origin = {
        name: text
        for name in (CLIENT_HEADER, SENDER_HEADER)
        if isinstance(text := message.headers.get(name), str)
    }
    # The same message parked twice (a crash before its ack) is one row. Its ID is the sender's to
    # choose, or to leave out.
    named = (queue, message.exchange, message.routing_key, message.user_id, message.message_id)
    identity = json.dumps([*named, origin]).encode() + b"\0" + message.body
    return ParkedMessage(
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
        headers={name: text[:128] for name, text in origin.items()},
    )
