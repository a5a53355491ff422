"""Releases of a client's backlog, batch after batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Lock, Release, Store, Transaction
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    a_delivery,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
    stored,
    under_way,
)

ONE, TWO = client_id(1), client_id(2)


async def due(transaction: Transaction) -> list[int]:
    """The numbers of the deliveries that are released and due, in their order."""
    found = await transaction.deliveries([delivery_id(n) for n in range(30)])
    return sorted(
        int(delivery.notification)
        for delivery in found.values()
        if delivery.released and delivery.deadline == later(1)
    )


def backlog(count: int, client: int = 1, first: int = 0) -> list[Delivery]:
    """Stored deliveries, whose notification's ID is their number."""
    return [a_delivery(n, client, notification=str(n)) for n in range(first, first + count)]


async def change(
    transaction: Transaction, numbers: Sequence[int], how: Callable[[Delivery], Delivery]
) -> None:
    """Let something happen to some deliveries."""
    found = await transaction.deliveries([delivery_id(n) for n in numbers], Lock.EXCLUSIVE)
    await transaction.save_deliveries([how(delivery) for delivery in found.values()])


async def test_the_first_that_rest_are_released(store: Store) -> None:
    """A release takes the oldest resting deliveries of each client, up to the limit, as a batch."""
    async with store.transaction() as transaction:
        # IDs fall while order rises: order counts.
        rows = [a_delivery(9 - n, notification=str(n)) for n in range(5)]
        rows[0], rows[1] = settled(rows[0]), under_way(rows[1])
        await fill(transaction, (1, 2, 3), [*rows, *backlog(1, 2, first=20)])
        clients = [TWO, ONE, client_id(3)]
        released = await transaction.release(clients, now=later(1), limit=2)
        assert released == [Release(ONE, 1, 2), Release(TWO, 1, 1)]
        assert await due(transaction) == [2, 3, 20]
        found = (await transaction.deliveries([delivery_id(7)]))[delivery_id(7)]
        assert found == replace(
            rows[2], order=found.order, deadline=later(1), released=True, batch=1
        )


async def test_nothing_to_release(store: Store) -> None:
    """Clients without resting deliveries get no batch."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2), [settled(a_delivery(1)), under_way(a_delivery(2))])
        assert not await transaction.release([ONE, TWO], now=NOW, limit=5)
        assert not await transaction.release([], now=NOW, limit=5)
        assert not await transaction.release_following([], now=NOW, limit=5)
        assert not await transaction.release_following([(ONE, 1), (TWO, 0)], now=NOW, limit=5)


async def test_a_batch_ends_when_its_last_delivery_settles(store: Store) -> None:
    """The next batch is due when no delivery of the last is released or under way, no sooner."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), backlog(5))
        assert await transaction.release([ONE], now=NOW, limit=2) == [Release(ONE, 1, 2)]
        # 0 is released, 1 under way: the batch goes on.
        await change(transaction, [1], under_way)
        assert not await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        # 0 settled, 1 under way: still.
        await change(transaction, [0], settled)
        assert not await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        await change(transaction, [1], settled)
        following = await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        assert following == [Release(ONE, 2, 2)]
        assert await due(transaction) == [2, 3]


async def test_a_batch_ends_when_its_last_delivery_is_stored_again(store: Store) -> None:
    """A delivery that failed is stored behind the next batch, and is not released once more."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), backlog(3))
        await transaction.release([ONE], now=NOW, limit=2)
        await change(transaction, [0, 1], stored)
        following = await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        assert following == [Release(ONE, 2, 1)]
        assert await due(transaction) == [2]
        await change(transaction, [2], stored)
        assert not await transaction.release_following([(ONE, 2)], now=later(1), limit=2)
        # The device comes back: it begins with the oldest again.
        assert await transaction.release([ONE], now=later(1), limit=2) == [Release(ONE, 3, 2)]
        assert await due(transaction) == [0, 1]


async def test_a_repeat_follows_no_batch_twice(store: Store) -> None:
    """Outcomes come again after a crash; asking again for a followed batch releases nothing."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), backlog(6))
        await transaction.release([ONE], now=NOW, limit=2)
        await change(transaction, [0, 1], settled)
        assert await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        for _ in range(2):
            assert not await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        assert await due(transaction) == [2, 3]


async def test_a_new_release_takes_over(store: Store) -> None:
    """After the device came back once more, only its newest batch leads on to another."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), backlog(6))
        await transaction.release([ONE], now=NOW, limit=2)
        await change(transaction, [0], under_way)
        # Released and not yet looked at is resting: 1 moves to the new batch.
        assert await transaction.release([ONE], now=later(1), limit=2) == [Release(ONE, 2, 2)]
        assert await due(transaction) == [1, 2]
        await change(transaction, [0], settled)
        assert not await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        await change(transaction, [1, 2], settled)
        following = await transaction.release_following([(ONE, 1), (ONE, 2)], now=later(1), limit=2)
        assert following == [Release(ONE, 3, 2)]


async def test_the_end_of_the_backlog(store: Store) -> None:
    """After the last batch nothing is left, and what is stored later waits for a release."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2), [*backlog(1), *backlog(2, 2, first=10)])
        await transaction.release([ONE, TWO], now=NOW, limit=1)
        await change(transaction, [0, 10], settled)
        following = await transaction.release_following([(ONE, 1), (TWO, 1)], now=NOW, limit=1)
        assert following == [Release(TWO, 2, 1)]
        await transaction.add_deliveries(backlog(1, 1, first=5))
        assert await transaction.release([ONE], now=later(1), limit=1) == [Release(ONE, 2, 1)]
        assert await due(transaction) == [5]


async def test_two_workers_end_a_batch_at_once(installation: Installation) -> None:
    """Each settles one of the last two deliveries: exactly one of them releases what follows."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await fill(transaction, (1,), backlog(4))
        await transaction.release([ONE], now=NOW, limit=2)
        await change(transaction, [0, 1], under_way)

    async def settle(store: Store, number: int) -> Sequence[Release]:
        async with store.transaction() as transaction:
            await transaction.clients([ONE], Lock.SHARED)
            await change(transaction, [number], settled)
            return await transaction.release_following([(ONE, 1)], now=later(1), limit=2)

    async with one.transaction() as transaction:
        await transaction.clients([ONE], Lock.SHARED)
        await change(transaction, [0], settled)
        first = await transaction.release_following([(ONE, 1)], now=later(1), limit=2)
        second = asyncio.create_task(settle(two, 1))
        await installation.somebody_waits()
    assert (list(first), await second) == ([], [Release(ONE, 2, 2)])


async def test_many_workers_drain_a_backlog(installation: Installation) -> None:
    """However outcomes are spread over workers, each batch is released once and all come."""
    stores = [await installation.open() for _ in range(3)]
    async with stores[0].transaction() as transaction:
        await fill(transaction, (1,), backlog(20))
        (released,) = await transaction.release([ONE], now=later(1), limit=6)

    async def settle(store: Store, numbers: Sequence[int], batch: int) -> Sequence[Release]:
        async with store.transaction() as transaction:
            await transaction.clients([ONE], Lock.SHARED)
            await change(transaction, numbers, settled)
            return await transaction.release_following([(ONE, batch)], now=later(1), limit=6)

    sizes = [released.count]
    while True:
        async with stores[0].transaction() as transaction:
            numbers = await due(transaction)
        told = await asyncio.gather(
            *(settle(store, numbers[i::3], released.batch) for i, store in enumerate(stores))
        )
        following = [release for some in told for release in some]
        if not following:
            break
        (released,) = following
        sizes.append(released.count)
    assert sizes == [6, 6, 6, 2]
    async with stores[0].transaction() as transaction:
        assert not await transaction.open_deliveries_of([ONE])
