"""Retention: what goes, what stays, and how much at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from aoi_events.domain.clients.client import Presence, SessionReplaced
from aoi_events.ports.store import Kind, Store, Transaction
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    SENDER,
    a_channel,
    a_client,
    a_delivery,
    a_notification,
    a_parked,
    a_proof,
    a_provider_message,
    a_submission,
    an_application,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
)


async def retain(
    transaction: Transaction, *, before: datetime = NOW, limit: int = 100
) -> dict[Kind, int]:
    """A batch of each kind; how many were removed of those of which any were.

    Nothing made by ``rows`` is old enough unless a test says so.
    """
    removed = {kind: await transaction.retain(kind, before=before, limit=limit) for kind in Kind}
    return {kind: count for kind, count in removed.items() if count}


async def test_settled_deliveries_go_with_their_notification(store: Store) -> None:
    """Old settled rows go; a notification stays until the last of its deliveries is gone."""
    async with store.transaction() as transaction:
        await transaction.add_notifications([a_notification("n1"), a_notification("n2")])
        await fill(
            transaction,
            (1,),
            [
                settled(a_delivery(1)),
                a_delivery(2),
                settled(a_delivery(3, notification="n2")),
                settled(a_delivery(4, notification="n2"), later(8)),
                replace(settled(a_delivery(5)), published=False, deadline=NOW),
            ],
        )
        assert await retain(transaction) == {}
        assert await retain(transaction, before=later(5)) == {Kind.DELIVERIES: 2}
        left = await transaction.deliveries([delivery_id(n) for n in range(9)])
        assert set(left) == {delivery_id(n) for n in (2, 4, 5)}
        assert await retain(transaction, before=later(9)) == {Kind.DELIVERIES: 1}
        assert set(await transaction.notifications([(SENDER, "n1"), (SENDER, "n2")])) == {
            (SENDER, "n1")
        }


async def test_notifications_without_deliveries_go_by_age(store: Store) -> None:
    """Tombstones, and notifications whose tokens were all rejected, stay as long as others."""
    async with store.transaction() as transaction:
        old = [a_notification(f"n{n}", deliveries=(), tombstone=bool(n)) for n in range(2)]
        young = a_notification("n3", deliveries=(), accepted_at=later(9))
        full = a_notification("n4")
        await transaction.add_notifications([*old, young, full])
        assert await retain(transaction, before=later(5)) == {Kind.NOTIFICATIONS: 2}
        keys = [(SENDER, f"n{n}") for n in range(5)]
        assert set(await transaction.notifications(keys)) == {(SENDER, "n3"), (SENDER, "n4")}


async def test_submissions_parked_messages_and_challenges_go_by_age(store: Store) -> None:
    """Each kind is removed once it is older than its retention."""
    async with store.transaction() as transaction:
        await fill(transaction)
        await transaction.add_submissions([a_submission(1), a_submission(2, at=later(9))])
        named = [a_provider_message(1), a_provider_message(2, at=later(9))]
        await transaction.note_provider_messages(named)
        await transaction.park([a_parked(1), a_parked(9)], quota=9)
        await transaction.note_challenges([(a_proof(), NOW), (a_proof(), later(9))])
        assert await retain(transaction, before=later(5)) == {
            Kind.SUBMISSIONS: 2,
            Kind.CHALLENGES: 1,
            Kind.PARKED: 1,
        }
        assert await transaction.parked() == [a_parked(9)]
        assert await transaction.count_challenges(since=NOW) == 1
        assert not await transaction.add_submissions([a_submission(2)])
        assert set(await transaction.provider_messages("smsc", ["m1.1", "m2.1"])) == {"m2.1"}


async def test_retired_clients_go_with_all_that_is_theirs(store: Store) -> None:
    """A retired client is removed after its time, unless deliveries of it are still open."""
    async with store.transaction() as transaction:
        retired = [a_client(n, retired_at=NOW, epoch=1) for n in (1, 2, 3)]
        await transaction.save_clients([*retired, a_client(4, retired_at=later(9), epoch=1)])
        await transaction.save_applications([an_application(1)])
        await transaction.save_channels([a_channel(1)])
        await transaction.save_proofs([a_proof(1)])
        await transaction.note_challenges([(a_proof(1), NOW)])
        unpublished = replace(settled(a_delivery(2, client=3)), published=False, deadline=NOW)
        await transaction.add_deliveries([a_delivery(1, client=2), unpublished])
        await transaction.release([client_id(2)], now=NOW, limit=1)
        assert await transaction.retain(Kind.CLIENTS, before=later(5), limit=9) == 1
        left = await transaction.clients([client_id(n) for n in range(9)])
        assert set(left) == {client_id(n) for n in (2, 3, 4)}
        assert list(await transaction.applications_of([client_id(1)])) == []
        assert await transaction.channels([client_id(1)]) == {}
        assert await transaction.proofs([client_id(1)]) == {}
        assert await transaction.count_challenges(since=NOW) == 0


async def test_clients_that_were_never_used_are_found(store: Store) -> None:
    """Clients that never connected nor activated, or were silent for long, are found, the oldest
    first, whatever apps they have; retired ones are not, but one whose event is unpublished stays
    until it is published.
    """
    async with store.transaction() as transaction:
        untold = a_client(8, retired_at=NOW, unpublished_since=later(1))
        await transaction.save_clients(
            [
                a_client(1, registered_at=later(2)),
                a_client(2, registered_at=later(9), seen_at=later(9)),
                a_client(3, epoch=1, presence=Presence("n", "s")),
                a_client(4, epoch=2, replaced=SessionReplaced("n", "s", by="t")),
                a_client(5, sequence=1),
                a_client(6),
                a_client(7, seen_at=later(9)),
                untold,
            ]
        )
        await transaction.save_applications([an_application(6)])
        never = NOW
        assert await transaction.expired_clients(
            unused_before=later(5), silent_before=never, limit=9
        ) == {client_id(6), client_id(1)}
        assert await transaction.expired_clients(
            unused_before=later(5), silent_before=never, limit=1
        ) == {client_id(6)}
        assert list(await transaction.clients_with_unpublished_end(later(1), 9)) == []
        assert list(await transaction.clients_with_unpublished_end(later(2), 9)) == [untold.id]
        assert await retain(transaction, before=later(5)) == {}
        await transaction.save_clients([replace(untold, unpublished_since=None)])
        assert await retain(transaction, before=later(5)) == {Kind.CLIENTS: 1}
        assert len(await transaction.clients([client_id(n) for n in range(9)])) == 7


async def test_clients_that_were_not_heard_of_are_found(store: Store) -> None:
    """Whatever they did once, the most silent first; those that ended are none of them."""
    async with store.transaction() as transaction:
        await transaction.save_clients(
            [
                a_client(1, epoch=3, sequence=2, seen_at=later(2)),
                a_client(2, epoch=1, seen_at=later(1), presence=Presence("n", "s")),
                a_client(3, epoch=1, seen_at=later(5)),
                a_client(4, epoch=1, seen_at=later(1), retired_at=later(2)),
            ]
        )
        for limit, found in ((9, {1, 2}), (1, {2})):
            assert await transaction.expired_clients(
                unused_before=NOW, silent_before=later(5), limit=limit
            ) == {client_id(n) for n in found}


async def test_retention_works_in_batches(store: Store) -> None:
    """No batch is larger than ``limit``; they go on until nothing is old."""
    async with store.transaction() as transaction:
        deliveries = [settled(a_delivery(n, notification=f"n{n}")) for n in range(5)]
        bare = [a_notification(f"b{n}", deliveries=()) for n in range(5)]
        await transaction.add_notifications([*(a_notification(f"n{n}") for n in range(5)), *bare])
        await fill(transaction, range(5), deliveries)
        await transaction.save_clients([a_client(n, retired_at=NOW) for n in range(5)])
        await transaction.add_submissions([a_submission(n) for n in range(5)])
        await transaction.note_challenges([(a_proof(n), NOW) for n in range(5)])
        await transaction.park([a_parked(n) for n in range(5)], quota=9)
    for kind in Kind:
        counts: list[int] = []
        while not counts or counts[-1]:
            async with store.transaction() as transaction:
                counts.append(await transaction.retain(kind, before=later(60), limit=2))
        assert counts == [2, 2, 1, 0], kind


async def test_two_rounds_at_once_leave_no_orphan(installation: Installation) -> None:
    """Two rounds that remove the last two deliveries of a notification remove it, too."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await transaction.add_notifications([a_notification()])
        await fill(transaction, (1,), [settled(a_delivery(n)) for n in (1, 2)])

    async def round_(store: Store) -> int:
        async with store.transaction() as transaction:
            return await transaction.retain(Kind.DELIVERIES, before=later(5), limit=1)

    first, second = await asyncio.gather(round_(one), round_(two))
    assert (first, second) == (1, 1)
    async with one.transaction() as transaction:
        assert not await transaction.notifications([(SENDER, "n1")])
