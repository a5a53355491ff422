"""Claims of what is due, and the mark that effects have left."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    a_delivery,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
    under_way,
)


async def test_due_deliveries_are_claimed_earliest_first(store: Store) -> None:
    """What is due is claimed in order and up to the limit; settled and later rows are not due."""
    async with store.transaction() as transaction:
        await fill(
            transaction,
            (1,),
            [
                a_delivery(1, deadline=later(3)),
                a_delivery(2, deadline=later(1)),
                settled(a_delivery(3)),
                replace(settled(a_delivery(4)), published=False, deadline=later(2)),
                a_delivery(5, deadline=later(30)),
            ],
        )
    async with store.transaction() as transaction:
        first = await transaction.claim_due(later(3), 2, until=later(60))
        assert list(first) == [delivery_id(2), delivery_id(4)]
        assert [*await transaction.claim_due(later(3), 9, until=later(60))] == [delivery_id(1)]
        assert await transaction.claim_due(later(29), 9, until=later(60)) == {}
        claimed = (await transaction.deliveries([delivery_id(2)]))[delivery_id(2)]
        assert claimed == a_delivery(2, deadline=later(60), order=claimed.order)
        # Nobody came back for the claims: they are due again.
        again = [*await transaction.claim_due(later(60), 9, until=later(90))]
        assert again[0] == delivery_id(5)
        assert set(again[1:]) == {delivery_id(n) for n in (1, 2, 4)}


async def test_two_workers_claim_different_deliveries(installation: Installation) -> None:
    """Of two that claim at once, neither gets what the other got, and nothing is left."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await fill(transaction, (1,), [a_delivery(n, deadline=NOW) for n in range(40)])

    async def claim(store: Store) -> list[str]:
        claimed: list[str] = []
        while True:
            async with store.transaction() as transaction:
                some = await transaction.claim_due(NOW, 5, until=later(60))
            if not some:
                return claimed
            claimed += some

    first, second = await asyncio.gather(claim(one), claim(two))
    assert sorted(first + second) == [delivery_id(n) for n in range(40)]


async def test_a_released_batch_is_claimed_as_a_whole(store: Store) -> None:
    """Whatever the limit: who claims one of it claims all that is due of it, in order; the next
    claim takes what comes behind, and no part of a batch.
    """
    async with store.transaction() as transaction:
        # IDs fall while order rises: order counts.
        rows = [a_delivery(9 - n, deadline=later(99)) for n in range(4)]
        await fill(transaction, (1, 2), rows)
        await transaction.add_deliveries([a_delivery(20, 2, deadline=later(1))])
        await transaction.add_deliveries([a_delivery(n, 2, deadline=later(99)) for n in (30, 31)])
        await transaction.release([client_id(1)], now=later(1), limit=3)
        await transaction.release([client_id(2)], now=later(2), limit=3)
    async with store.transaction() as transaction:
        first = await transaction.claim_due(later(3), 2, until=later(60))
        assert list(first) == [delivery_id(n) for n in (9, 8, 7)]
        second = await transaction.claim_due(later(3), 1, until=later(60))
        assert list(second) == [delivery_id(n) for n in (20, 30, 31)]
        assert await transaction.claim_due(later(3), 9, until=later(60)) == {}
        assert len(await transaction.claim_due(later(60), 1, until=later(90))) == 3


async def test_two_workers_share_no_batch(installation: Installation) -> None:
    """However they meet, each batch goes to one of them, and nothing is left."""
    one, two = await installation.open(), await installation.open()
    clients = [client_id(n) for n in range(8)]
    async with one.transaction() as transaction:
        rows = [a_delivery(n, n % 8, deadline=later(99)) for n in range(40)]
        await fill(transaction, range(8), rows)
        await transaction.release(clients, now=NOW, limit=9)

    async def claim(store: Store) -> list[set[str]]:
        claimed: list[set[str]] = []
        while True:
            async with store.transaction() as transaction:
                some = await transaction.claim_due(NOW, 3, until=later(60))
            if not some:
                return claimed
            found = await one_look(store, some)
            assert len(found) == 5 * len({row.client for row in found})
            claimed.append({row.client for row in found})

    async def one_look(store: Store, ids: Collection[str]) -> list[Delivery]:
        async with store.transaction(read_only=True) as transaction:
            return list((await transaction.deliveries(ids)).values())

    first, second = await asyncio.gather(claim(one), claim(two))
    assert sorted(name for some in (*first, *second) for name in some) == sorted(clients)


async def test_attempts_are_postponed_where_nothing_happened(store: Store) -> None:
    """Steps and deadline are replaced where both are still as they were committed: not after an
    outcome, and not where the deadline was set from outside or claimed.
    """
    known = [under_way(a_delivery(n, deadline=later(10))) for n in (1, 2, 3)]
    (attempt,) = known[0].steps
    moved = replace(attempt, started_at=later(5), first_started_at=later(5))
    after = [replace(row, steps=(moved,), deadline=later(15), planned_at=later(5)) for row in known]
    outcome = StepOutcome(1, OutcomeKind.ACCEPTED, later(1), "", 0.0)
    stored = [
        known[0],
        replace(known[1], steps=(replace(attempt, outcome=outcome),)),
        replace(known[2], deadline=later(1)),
    ]
    async with store.transaction() as transaction:
        await fill(transaction, (1,), stored)
        moves = list(zip(known, after, strict=True))
        for _ in range(2):
            await transaction.postpone(moves[::-1])
            found = await transaction.deliveries([row.id for row in known])
            assert [(row.steps, row.deadline, row.planned_at) for row in found.values()] == [
                (row.steps, row.deadline, row.planned_at) for row in (after[0], *stored[1:])
            ]
        await transaction.postpone([])


async def test_published_is_marked_under_the_deadline_held(store: Store) -> None:
    """Only rows that are unpublished under the claimed deadline are marked."""
    held = later(5)
    async with store.transaction() as transaction:
        rows = [
            replace(a_delivery(1, deadline=held), published=False),
            replace(settled(a_delivery(2)), published=False, deadline=held),
            replace(a_delivery(3, deadline=later(6)), published=False),
            a_delivery(4, deadline=held),
        ]
        await fill(transaction, (1,), rows)
        marks = [(delivery_id(n), held, None if n == 2 else later(50)) for n in (4, 2, 3, 1)]
        for _ in range(2):
            await transaction.mark_published(marks)
            found = await transaction.deliveries([row.id for row in rows])
            assert [(row.published, row.deadline) for row in found.values()] == [
                (True, later(50)),
                (True, None),
                (False, later(6)),
                (True, held),
            ]
        await transaction.mark_published([])
