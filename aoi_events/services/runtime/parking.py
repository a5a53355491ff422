"""Parking: store a message, redacted and bounded, before it is acknowledged unhandled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Final

from aoi_events.contracts.requests import CLIENT_HEADER
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.domain.parked import ParkedMessage, redact
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker, Inbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Store
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.messages.quarantine import HEADER_LENGTH, replayed_id, to_replay

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at the messages that are being replayed."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A message to park and why; ``code`` is stable, ``reason`` for people."""

    message: Inbound
    code: str
    reason: str


@dataclass(eq=False)
class Parking:
    """Parks messages; those over a sender's ``quota`` are counted only.

    A parked message stays in the store while it is replayed: the worker that handles it forgets it,
    and one that fails again takes the place of the first, whatever the quota.
    """

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
        again = rows.keys() & {replayed_id(entry.message) for entry in entries}
        fresh = [row for id_, row in rows.items() if id_ not in again]
        async with self.store.transaction() as tx:
            stored = [*await tx.park(fresh, quota=self.quota)]
            await tx.drop_parked(again)
            stored += await tx.park([rows[id_] for id_ in sorted(again)], quota=sys.maxsize)
        self.metrics.parked(queue, [rows[id_].code for id_ in stored])
        return len(stored)

    async def forget_replayed(self, messages: Sequence[Inbound]) -> None:
        """Delete the parked messages whose replays these are: they were handled."""
        if ids := {id_ for message in messages if (id_ := replayed_id(message)) is not None}:
            async with self.store.transaction() as tx:
                await tx.drop_parked(ids)

    async def has_original(self, message: Inbound) -> bool:
        """Whether the message is a replay of one that is still parked."""
        if (id_ := replayed_id(message)) is None:
            return False
        async with self.store.transaction(read_only=True) as tx:
            return bool(await tx.parked(ids=[id_], limit=1))


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay. ``done``: the IDs of messages that workers handled; ``kept``: ID →
    why not, for the others, which stay parked.
    """

    done: tuple[str, ...]
    kept: dict[str, str]


async def replay(store: Store, broker: Broker, ids: Collection[str], *, within: float) -> Replayed:
    """Send parked messages again, each alone through its queue's quarantine, on behalf of its
    sender, and wait ``within`` so many seconds until workers have handled them.

    The worker that handles a message deletes it from the store, so that none is lost. One that
    fails again stays parked, with the new reason, and so does one that no worker takes. A message
    that was redacted or cut cannot be sent again. Raises BrokerUnavailable, PublishRefused and
    StoreUnavailable; the messages are parked then, too.
    """
    good, kept = await replayable(store, ids)
    await publish_all(broker, [to_replay(row) for row in good])
    left = {row.id: row for row in good}
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while left:
        async with store.transaction(read_only=True) as tx:
            found = {row.id: row for row in await tx.parked(ids=left, limit=len(left))}
        again = [row for row in found.values() if row != left[row.id]]
        kept |= {row.id: f"it failed again: {row.code}: {row.reason}" for row in again}
        left = {id_: row for id_, row in left.items() if found.get(id_) == row}
        if not left or loop.time() >= until:
            break
        await asyncio.sleep(_LOOK_AGAIN)
    kept |= {
        id_: f"it was not handled within {within:g} s: does a worker of {row.queue} run, and is "
        f"the broker user {broker.user!r} among its AOI_OPERATOR_USERS?"
        for id_, row in left.items()
    }
    return Replayed(tuple(row.id for row in good if row.id not in kept), kept)


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
    # The same message parked twice (a crash before its ack) is one row, and so is a replay and its
    # original. A message's ID is the sender's to choose, or to leave out.
    named = (queue, message.exchange, message.routing_key, message.user_id, message.message_id)
    identity = json.dumps([*named, origin]).encode() + b"\0" + message.body
    return ParkedMessage(
        id=replayed_id(message) or "prk_" + hashlib.sha256(identity).hexdigest()[:24],
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
        headers={name: text[:HEADER_LENGTH] for name, text in origin.items()},
    )
