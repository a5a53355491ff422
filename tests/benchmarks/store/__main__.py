"""Deliveries a second in batches of 200: ``python -m tests.benchmarks.store``.

Each figure is the median of five rounds, with the range. Our one statement per batch stands beside
the driver's ``executemany``. On PostgreSQL (of the tests' container, without fsync) and SQLite.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sqlalchemy import insert

from aoi_events.contracts.states import DeliveryState, Evidence
from aoi_events.domain.delivery.state import Delivery, StoryEntry
from aoi_events.ports.store import Lock
from aoi_events.store.records import DELIVERIES
from aoi_events.store.store import SqlStore, SqlTransaction, open_store
from aoi_events.store.tables import deliveries
from aoi_events.testing.containers import PostgresServer
from tests.support.rows import NOW, a_client, a_delivery, client_id, later, under_way

BATCH, BATCHES, ROUNDS = 200, 25, 5

Work = Callable[[SqlTransaction, Sequence[Delivery]], Awaitable[object]]


def accepted(first: int, count: int) -> list[Delivery]:
    """Deliveries as they are accepted: on their way, with a line of story."""
    story = (StoryEntry(NOW, "sent", 0, 1, "websocket"),)
    return [
        replace(under_way(a_delivery(n, n % 1000)), story=story)
        for n in range(first, first + count)
    ]


def acknowledged(delivery: Delivery) -> Delivery:
    """The delivery after its acknowledgement."""
    entry = StoryEntry(later(1), "delivered", channel="websocket", detail="by device")
    return replace(
        delivery,
        state=DeliveryState.DELIVERED,
        by=Evidence.DEVICE,
        settled_at=later(1),
        deadline=None,
        story=(*delivery.story, entry),
    )


async def add(transaction: SqlTransaction, batch: Sequence[Delivery]) -> None:
    """One statement."""
    await transaction.clients({delivery.client for delivery in batch}, Lock.SHARED)
    await transaction.add_deliveries(batch)


async def add_many(transaction: SqlTransaction, batch: Sequence[Delivery]) -> None:
    """The driver's executemany, for comparison."""
    await transaction.clients({delivery.client for delivery in batch}, Lock.SHARED)
    rows = [{name: getattr(row, name) for name in DELIVERIES.written} for row in batch]
    await transaction._connection.execute(insert(deliveries), rows)


async def settle(transaction: SqlTransaction, batch: Sequence[Delivery]) -> None:
    """Lock, read, write back: what an outcome worker does."""
    found = await transaction.deliveries([delivery.id for delivery in batch], Lock.EXCLUSIVE)
    await transaction.save_deliveries([acknowledged(delivery) for delivery in found.values()])


async def read(transaction: SqlTransaction, batch: Sequence[Delivery]) -> None:
    """Read by ID."""
    await transaction.deliveries([delivery.id for delivery in batch])


async def measure(store: SqlStore, batches: Sequence[Sequence[Delivery]], work: Work) -> float:
    """Deliveries a second."""
    started = time.perf_counter()
    for batch in batches:
        async with store.transaction() as transaction:
            await work(transaction, batch)
    return sum(map(len, batches)) / (time.perf_counter() - started)


async def run(name: str, url: str) -> None:
    """Measure everything on one database."""
    store = await open_store(url, upgrade=True)
    async with store.transaction() as transaction:
        await transaction.save_clients([a_client(n) for n in range(1000)])
        assert await transaction.clients([client_id(1)])
    figures: dict[str, list[float]] = {}
    first = 0
    for _ in range(ROUNDS + 1):  # the first one warms up
        for how, adding in (("add", add), ("add, executemany", add_many)):
            batches = [accepted(first + i * BATCH, BATCH) for i in range(BATCHES)]
            first += BATCHES * BATCH
            figures.setdefault(how, []).append(await measure(store, batches, adding))
        figures.setdefault("settle", []).append(await measure(store, batches, settle))
        figures.setdefault("read", []).append(await measure(store, batches, read))
    for how, rates in figures.items():
        low, middle, high = min(rates[1:]), statistics.median(rates[1:]), max(rates[1:])
        sys.stdout.write(f"{name:12}{how:18}{middle:8,.0f}/s  ({low:,.0f} to {high:,.0f})\n")
    await store.close()


async def main() -> None:
    """PostgreSQL in the tests' container, then SQLite in a file."""
    server = PostgresServer()
    server.start()
    try:
        await run("PostgreSQL", server.url(await server.new_database()))
    finally:
        server.stop()
    with tempfile.TemporaryDirectory() as folder:
        await run("SQLite", f"sqlite:///{folder}/aoi.db")


asyncio.run(main())
