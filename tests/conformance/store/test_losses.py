"""What did not fit a client's backlog."""

from __future__ import annotations

import asyncio

from aoi_events.domain.clients.losses import Loss
from aoi_events.ports.store import Kind, Lock, Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import NOW, a_client, client_id, fill, later


async def test_losses_are_counted_and_told(store: Store) -> None:
    """Counts add up beside those already reported; saving replaces; a client without losses is
    absent.
    """
    ids = [client_id(n) for n in (1, 2, 3)]
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2, 3))
        await transaction.count_lost({ids[1]: 1, ids[0]: 2})
        await transaction.count_lost({ids[0]: 3})
        await transaction.count_lost({})
    async with store.transaction() as transaction:
        assert await transaction.losses(ids) == {
            ids[0]: Loss(ids[0], lost=5),
            ids[1]: Loss(ids[1], lost=1),
        }
        told = Loss(ids[0], lost=5).report_to("s1")
        await transaction.save_losses([told])
        await transaction.count_lost({ids[0]: 7})
        assert await transaction.losses([ids[0]]) == {ids[0]: Loss(ids[0], 7, 5, "s1")}
        assert await transaction.losses([]) == {}
        await transaction.save_losses([])


async def test_who_shares_a_client_can_count_at_the_same_time(installation: Installation) -> None:
    """Two workers that hold the client's row shared both count; neither waits for ever."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await transaction.save_clients([a_client(1)])

    async def count(store: Store) -> None:
        async with store.transaction() as transaction:
            await transaction.clients([client_id(1)], Lock.SHARED)
            await transaction.count_lost({client_id(1): 1})

    async with one.transaction() as transaction:
        await transaction.clients([client_id(1)], Lock.SHARED)
        await transaction.count_lost({client_id(1): 1})
        second = asyncio.create_task(count(two))
        await installation.somebody_waits()
    await second
    async with one.transaction(read_only=True) as transaction:
        assert (await transaction.losses([client_id(1)]))[client_id(1)].lost == 2


async def test_losses_go_with_their_client(store: Store) -> None:
    """The losses of a removed client are removed, too."""
    async with store.transaction() as transaction:
        gone = a_client(1, retired_at=NOW, retired_reason="deregistered")
        await transaction.save_clients([gone, a_client(2)])
        await transaction.count_lost({gone.id: 1, client_id(2): 1})
    async with store.transaction() as transaction:
        assert await transaction.retain(Kind.CLIENTS, before=later(1), limit=9) == 1
        assert (await transaction.losses([gone.id, client_id(2)])).keys() == {client_id(2)}
