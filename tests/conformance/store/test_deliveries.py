"""Notifications and their deliveries."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.states import DeliveryState, Evidence
from aoi_events.domain.delivery.ledger import Charge, ChargeState, Ledger
from aoi_events.domain.delivery.state import Delivery, StoryEntry
from aoi_events.domain.notifications import RejectedEntry
from aoi_events.ports.store import Lock, Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    SENDER,
    a_delivery,
    a_notification,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
    under_way,
)


async def test_notifications_are_added_once(store: Store) -> None:
    """Adding a known (sender, ID) changes nothing and is not among the keys returned."""
    first = a_notification("n1", rejected=(RejectedEntry(1, "fp_b", "token_forged", "no\0"),))
    octets = a_notification(
        "n2",
        content=Content.of(b"\x00\xff"),
        deliveries=(),
        mode=Mode.HEDGED,
        hedge_after=0.7,
    )
    tombstone = a_notification("n3", content=None, tombstone=True, deliveries=())
    other = replace(first, sender="other")
    async with store.transaction() as transaction:
        assert set(await transaction.add_notifications([first, octets])) == {
            (SENDER, "n1"),
            (SENDER, "n2"),
        }
        changed = replace(first, body_hash="ff")
        assert set(await transaction.add_notifications([changed, tombstone, other])) == {
            (SENDER, "n3"),
            ("other", "n1"),
        }
        keys = [(SENDER, "n1"), (SENDER, "n2"), (SENDER, "n3"), ("other", "n1"), ("x", "n1")]
        found = await transaction.notifications(keys)
        assert found == dict(zip(keys, (first, octets, tombstone, other), strict=False))
        assert await transaction.notifications([]) == {}
        assert not await transaction.add_notifications([])


async def test_two_senders_of_one_request_add_it_once(installation: Installation) -> None:
    """Of two simultaneous inserts of one notification one succeeds, and the other waits for it."""
    one, two = await installation.open(), await installation.open()

    async def add(store: Store) -> int:
        async with store.transaction() as transaction:
            return len(await transaction.add_notifications([a_notification()]))

    async with one.transaction() as transaction:
        assert await transaction.add_notifications([a_notification()])
        second = asyncio.create_task(add(two))
        await installation.somebody_waits()
    assert await second == 0


async def test_deliveries_get_their_order_at_acceptance(store: Store) -> None:
    """Order rises within a batch as given, whatever the IDs, and from batch to batch."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), [a_delivery(n) for n in (5, 3, 4)])
    async with store.transaction() as transaction:
        await transaction.add_deliveries([a_delivery(2), a_delivery(1)])
        await transaction.add_deliveries([])
        found = await transaction.deliveries([delivery_id(n) for n in (1, 2, 3, 4, 5, 6)])
    assert list(found) == [delivery_id(n) for n in (1, 2, 3, 4, 5)]
    by_order = sorted(found.values(), key=lambda delivery: delivery.order)
    assert [delivery.id for delivery in by_order] == [delivery_id(n) for n in (5, 3, 4, 2, 1)]
    assert found[delivery_id(5)] == a_delivery(5, order=found[delivery_id(5)].order)


async def test_a_delivery_id_is_new(store: Store) -> None:
    """Adding a delivery twice is a bug of the caller and not swallowed; what the error says shows
    nothing of the row.
    """
    async with store.transaction() as transaction:
        await fill(transaction, (1,), [a_delivery(1)])
    with pytest.raises(IntegrityError) as twice:
        async with store.transaction() as transaction:
            await transaction.add_deliveries([a_delivery(1, application="private-words")])
    # It is logged, with its traceback.
    assert "private-words" not in str(twice.value) + repr(twice.value)


async def test_saving_changes_what_may_change(store: Store) -> None:
    """State, plan and story change; identity, acceptance, order stay; unknown IDs are no error."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), [a_delivery(1), a_delivery(2)])
        before = (await transaction.deliveries([delivery_id(1)]))[delivery_id(1)]
        story = (StoryEntry(NOW, "sent", 0, 1, "sms", "dé\0tail"), StoryEntry(NOW, "delivered"))
        after = replace(
            under_way(before),
            batch=4,
            released=True,
            published=False,
            ledger=Ledger(0.25, (Charge(0, 1, "sms", 1.5, ChargeState.TAKEN),)),
            story=story,
            stored_at=later(2),
            reason="x",
            channel="sms",
        )
        await transaction.save_deliveries(
            [a_delivery(9), replace(after, sender="forged", accepted_at=later(9), order=99)]
        )
        found = await transaction.deliveries([delivery_id(n) for n in (1, 2, 9)], Lock.EXCLUSIVE)
        assert found[delivery_id(1)] == after
        assert found[delivery_id(2)].state is DeliveryState.STORED
        assert len(found) == 2
        done = replace(
            settled(after, later(1)),
            by=Evidence.DEVICE,
            supersedes=DeliveryState.EXPIRED,
            batch=None,
        )
        await transaction.save_deliveries([done, after, done])
        assert await transaction.deliveries([done.id], Lock.SHARED) == {done.id: done}


@pytest.mark.parametrize(
    "unwatched",
    [
        a_delivery(deadline=None),
        replace(settled(a_delivery()), published=False),
        replace(a_delivery(), settled_at=NOW),
        replace(settled(a_delivery()), settled_at=None, deadline=NOW),
    ],
    ids=["open without deadline", "unpublished without deadline", "open", "settled when?"],
)
async def test_every_row_is_watched(store: Store, unwatched: Delivery) -> None:
    """A row without a deadline that needs one, or that contradicts itself, cannot be written."""
    with pytest.raises(IntegrityError):
        async with store.transaction() as transaction:
            await transaction.add_deliveries([unwatched])


async def test_deliveries_of_a_notification(store: Store) -> None:
    """All deliveries of (sender, notification), or of any sender's, come in ID order."""
    async with store.transaction() as transaction:
        mine = [a_delivery(n) for n in (3, 1, 2)]
        others = [a_delivery(4, notification="n2"), a_delivery(5, sender="other")]
        await fill(transaction, (1,), [*mine, *others])
        found = await transaction.deliveries_of(SENDER, "n1")
        assert [delivery.id for delivery in found] == [delivery_id(n) for n in (1, 2, 3)]
        assert list(await transaction.deliveries_of(SENDER, "n9")) == []
        named = await transaction.deliveries_named("n1")
        assert [delivery.id for delivery in named] == [delivery_id(n) for n in (1, 2, 3, 5)]
        assert list(await transaction.deliveries_named("n9")) == []


async def test_open_deliveries_and_stored_ones(store: Store) -> None:
    """Open means not settled, whatever is under way; stored means waiting for the device."""
    async with store.transaction() as transaction:
        await fill(
            transaction,
            (1, 2, 3),
            [
                a_delivery(3),
                under_way(a_delivery(1)),
                settled(a_delivery(2)),
                a_delivery(4, client=2),
                settled(a_delivery(5, client=3)),
                a_delivery(6),
            ],
        )
        found = await transaction.open_deliveries_of([client_id(1), client_id(3)])
        assert [delivery.id for delivery in found] == [delivery_id(n) for n in (1, 3, 6)]
        assert list(await transaction.open_deliveries_of([])) == []


async def test_what_is_put_off_is_counted(store: Store) -> None:
    """By client: what is stored, what waits, and what is tried again; no first attempt, no end."""
    rows = [
        a_delivery(1),
        under_way(a_delivery(2)),
        settled(replace(a_delivery(3), attempts=2)),
        replace(under_way(a_delivery(4)), attempts=2),
        replace(under_way(a_delivery(5)), batch=3),
        a_delivery(6, client=2),
        settled(a_delivery(7, client=3)),
    ]
    assert [row.deferred for row in rows] == [True, False, False, True, True, True, False]
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2, 3), rows)
        clients = [client_id(n) for n in (1, 2, 3, 4)]
        assert await transaction.count_deferred(clients) == {client_id(1): 3, client_id(2): 1}
        assert await transaction.count_deferred([]) == {}
        await transaction.release([client_id(1)], now=NOW, limit=9)
        found = await transaction.open_deliveries_of([client_id(1)])
        assert sum(row.deferred for row in found) == 3
        assert await transaction.count_deferred(clients) == {client_id(1): 3, client_id(2): 1}


async def test_more_rows_than_a_statement_has_parameters(store: Store) -> None:
    """Batches are not bounded by how many parameters a statement may have."""
    async with store.transaction() as transaction:
        await fill(transaction, (1,), [a_delivery(n) for n in range(3000)])
        ids = [delivery_id(n) for n in range(40_000)]
        found = await transaction.deliveries(ids, Lock.EXCLUSIVE)
        assert len(found) == 3000
        await transaction.save_deliveries([settled(delivery) for delivery in found.values()])
        assert not await transaction.open_deliveries_of([client_id(1)])


async def test_open_deliveries_of_a_topic(store: Store) -> None:
    """Only what is open, of just that client, token, sender and topic, comes, in ID order."""
    async with store.transaction() as transaction:
        await fill(
            transaction,
            (1, 2),
            [
                a_delivery(4, topic="score"),
                a_delivery(3),
                under_way(a_delivery(2, topic="score")),
                settled(a_delivery(1, topic="score")),
                a_delivery(5, topic="scores"),
                a_delivery(6, sender="other", topic="score"),
                a_delivery(7, fingerprint="fp_bbbbbbbbbbbbb", topic="score"),
                a_delivery(8, client=2, topic="score"),
            ],
        )
        key = (client_id(1), "fp_aaaaaaaaaaaaa", SENDER, "score")
        found = await transaction.open_of_topics([key, key, (*key[:3], "none")])
        assert [row.id for row in found] == [delivery_id(2), delivery_id(4)]
        assert {row.topic for row in found} == {"score"}
        assert list(await transaction.open_of_topics([])) == []
        await transaction.save_deliveries([replace(found[0], topic="forged")])
        again = await transaction.deliveries([delivery_id(2)])
        assert again[delivery_id(2)].topic == "score", "what a delivery is about never changes"


async def test_who_accepts_a_topic_sees_what_others_accepted(installation: Installation) -> None:
    """Under an exclusive lock on the client's row, an older delivery cannot be missed."""
    one, two = await installation.open(), await installation.open()
    key = (client_id(1), "fp_aaaaaaaaaaaaa", SENDER, "score")
    async with one.transaction() as transaction:
        await fill(transaction, (1,))

    async def look() -> list[str]:
        async with two.transaction() as transaction:
            await transaction.clients([client_id(1)], Lock.EXCLUSIVE)
            return [row.id for row in await transaction.open_of_topics([key])]

    async with one.transaction() as transaction:
        await transaction.clients([client_id(1)], Lock.EXCLUSIVE)
        second = asyncio.create_task(look())
        await installation.somebody_waits()
        await transaction.add_deliveries([a_delivery(1, topic="score")])
    assert await second == [delivery_id(1)]
