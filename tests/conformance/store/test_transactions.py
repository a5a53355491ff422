"""The promises of a transaction: all or nothing, effective locks, distinguishable faults."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.domain.clients.channels import Channel
from aoi_events.errors import StoreUnavailable
from aoi_events.ports.store import Lock, Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    a_channel,
    a_client,
    a_delivery,
    client_id,
    delivery_id,
    fill,
)


async def test_an_exception_undoes_everything(store: Store) -> None:
    """After any exception in the block nothing of it happened, and the exception goes on."""

    async def half_way() -> None:
        async with store.transaction() as transaction:
            await fill(transaction, (1,), [a_delivery(1)])
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await half_way()
    async with store.transaction() as transaction:
        assert await transaction.clients([client_id(1)]) == {}
        assert await transaction.deliveries([delivery_id(1)]) == {}


async def test_cancelling_undoes_everything(store: Store) -> None:
    """A task that is cancelled within a transaction leaves nothing behind, no lock either."""
    reached = asyncio.Event()

    async def hang() -> None:
        async with store.transaction() as transaction:
            await fill(transaction)
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.transaction() as transaction:
        assert await transaction.clients([client_id(1)], Lock.EXCLUSIVE) == {}
        await fill(transaction)


async def test_cancelling_at_any_moment_does_no_harm(store: Store) -> None:
    """Cancelled after any number of turns of the loop, a transaction is whole or nothing."""

    async def save(n: int) -> None:
        async with store.transaction() as transaction:
            await transaction.save_clients([a_client(n)])
            await transaction.add_deliveries([a_delivery(n, client=n)])

    for turns in range(25):
        task = asyncio.create_task(save(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with store.transaction() as transaction:
        clients = await transaction.clients([client_id(n) for n in range(25)])
        deliveries = await transaction.deliveries([delivery_id(n) for n in range(25)])
    assert set(clients) == {delivery.client for delivery in deliveries.values()}


async def test_a_reading_transaction_cannot_write(store: Store) -> None:
    """A write in a read-only transaction is refused, and the next transaction may write."""
    with pytest.raises(StoreUnavailable, match=r"read-?only"):
        async with store.transaction(read_only=True) as transaction:
            await fill(transaction)
    async with store.transaction() as transaction:
        await fill(transaction)


async def test_what_was_not_committed_is_not_seen(installation: Installation) -> None:
    """A reader beside a writer sees the state before, and the state after once it committed."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await fill(transaction)
        async with two.transaction(read_only=True) as reader:
            assert await reader.clients([client_id(1)]) == {}
    async with two.transaction(read_only=True) as reader:
        assert set(await reader.clients([client_id(1)])) == {client_id(1)}


@pytest.mark.parametrize("storing_first", [True, False])
async def test_storing_and_activating_cannot_miss_each_other(
    installation: Installation, storing_first: bool
) -> None:
    """Who stores sees the channel, or who activates sees the stored delivery: never neither.

    Storing locks the client shared, looks for channels, finds none and stores; activating locks it
    exclusively, saves the channel and releases what is stored.
    """
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await fill(transaction)
    holds = asyncio.Event()
    go_on = asyncio.Event()

    async def store_it(store: Store) -> list[Channel]:
        async with store.transaction() as transaction:
            await transaction.clients([client_id(1)], Lock.SHARED)
            found = await transaction.channels([client_id(1)])
            if not found:
                await transaction.add_deliveries([a_delivery(1)])
            holds.set()
            await go_on.wait()
            return [channel for some in found.values() for channel in some]

    async def activate(store: Store) -> int:
        async with store.transaction() as transaction:
            await transaction.clients([client_id(1)], Lock.EXCLUSIVE)
            await transaction.save_channels([a_channel(1)])
            released = await transaction.release([client_id(1)], now=NOW, limit=10)
            holds.set()
            await go_on.wait()
            return sum(release.count for release in released)

    if storing_first:
        storing = asyncio.create_task(store_it(one))
        await holds.wait()
        activating = asyncio.create_task(activate(two))
    else:
        activating = asyncio.create_task(activate(two))
        await holds.wait()
        storing = asyncio.create_task(store_it(one))
    await installation.somebody_waits()
    go_on.set()
    saw, released = await asyncio.gather(storing, activating)
    assert (bool(saw), released) == ((False, 1) if storing_first else (True, 0))


async def test_an_exclusive_lock_makes_changes_follow_each_other(
    installation: Installation,
) -> None:
    """Read, add, write under an exclusive lock loses no update, whichever worker does it."""
    stores = [await installation.open() for _ in range(3)]
    async with stores[0].transaction() as transaction:
        await fill(transaction)

    async def count(store: Store) -> None:
        for _ in range(5):
            async with store.transaction() as transaction:
                client = (await transaction.clients([client_id(1)], Lock.EXCLUSIVE))[client_id(1)]
                await transaction.save_clients([a_client(1, epoch=client.epoch + 1)])

    await asyncio.gather(*map(count, stores))
    async with stores[0].transaction() as transaction:
        assert (await transaction.clients([client_id(1)]))[client_id(1)].epoch == 15


async def test_a_closed_store_says_so(store: Store) -> None:
    """After closing, which may be repeated, a transaction raises StoreUnavailable."""
    await store.check()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        async with store.transaction():
            raise AssertionError("unreachable")
