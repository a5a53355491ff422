"""Store-and-forward: which stored deliveries become due, and when.

Releases lock a client's backlog and then deliveries, so they run in a transaction that has locked
no delivery yet: one that settled deliveries first would wait for a release that waits for it. They
are idempotent, so a worker repeats them when a message is redelivered, and the deadlines worker
with its unpublished rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.client import Client
from aoi_events.domain.delivery.facts import Decision
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock, Store
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.runtime.settings import ServiceSettings


async def release_next_batches(
    store: Store, touched: Iterable[Delivery], settings: ServiceSettings, now: datetime
) -> list[Outbound]:
    """Release the next batch when the last delivery of a released batch has ended or is stored."""
    ended = {
        (row.client, row.batch)
        for row in touched
        if row.batch is not None and (row.state.terminal or row.state is DeliveryState.STORED)
    }
    if not ended:
        return []
    async with store.transaction() as tx:
        released = await tx.release_following(ended, now=now, limit=settings.policies.release)
    return [hint()] if released else []


async def release_idle(
    store: Store, rows: Iterable[Delivery], settings: ServiceSettings, now: datetime
) -> list[Outbound]:
    """Release the idle deliveries of the clients of those ``rows`` that are stored.

    For rows whose worker died between their commit and the publish of their first step: a device
    that was connected all the time seemed silent, and will not come back, because it never left.
    """
    clients = {row.client for row in rows if row.state is DeliveryState.STORED}
    if not clients:
        return []
    async with store.transaction() as tx:
        await tx.clients(clients, Lock.SHARED)
        released = await tx.release(clients, now=now, limit=settings.policies.release)
    return [hint()] if released else []


def release_if_returned(
    decision: Decision, clients: Mapping[str, Client], now: datetime
) -> Decision:
    """The decision, released at once if the device came back while the plan was under way.

    Its return released the deliveries that were idle then, and not this one, whose attempt was
    still open; stored until the *next* return, it would miss this one. The caller has locked the
    client's row.
    """
    row = decision.delivery
    client = clients.get(row.client)
    if (
        row.state is not DeliveryState.STORED
        or not decision.changed
        or row.released
        or row.planned_at is None
        or client is None
        or client.returns <= row.returns
    ):
        return decision
    return replace(decision, delivery=replace(row, released=True, deadline=now))
