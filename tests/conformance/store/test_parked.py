"""Parked messages and their quotas."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aoi_events.ports.store import Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import SENDER, a_parked


async def test_parked_messages_are_kept_newest_first(store: Store) -> None:
    """A parked message comes back octet by octet, by ID or among the newest."""
    full = a_parked(
        2, replayable=False, obstacle="cut", headers={"x": "a\0b"}, reason="bad\0", body=b""
    )
    async with store.transaction() as transaction:
        assert len(await transaction.park([a_parked(1), full, a_parked(3)], quota=10)) == 3
        assert len(await transaction.park([], quota=10)) == 0
        assert await transaction.parked() == [a_parked(3), full, a_parked(1)]
        assert await transaction.parked(limit=1) == [a_parked(3)]
        assert await transaction.parked(ids=["p001", "p002", "p009"]) == [full, a_parked(1)]
        assert list(await transaction.parked(ids=[])) == []


async def test_beyond_the_quota_messages_are_counted_only(store: Store) -> None:
    """Each sender has its own quota; the rest is counted under its code and not stored."""
    async with store.transaction() as transaction:
        mine = [a_parked(n, code="malformed" if n < 3 else "invalid") for n in range(5)]
        other = replace(a_parked(9), sender="other")
        assert len(await transaction.park([*mine, other], quota=2)) == 3
        assert len(await transaction.park([a_parked(7, code="invalid")], quota=2)) == 0
        assert await transaction.parked_counts() == {
            (SENDER, "malformed"): (2, 1),
            (SENDER, "invalid"): (0, 3),
            ("other", "malformed"): (1, 0),
        }


async def test_parking_again_changes_nothing(store: Store) -> None:
    """A message that is parked a second time (its ack was lost) is neither stored nor counted."""
    async with store.transaction() as transaction:
        assert len(await transaction.park([a_parked(1), a_parked(1)], quota=1)) == 1
        assert len(await transaction.park([replace(a_parked(1), reason="other")], quota=1)) == 0
        assert await transaction.parked() == [a_parked(1)]
        assert await transaction.parked_counts() == {(SENDER, "malformed"): (1, 0)}


async def test_dropping_makes_room(store: Store) -> None:
    """Dropped messages are gone and no longer count against the quota."""
    async with store.transaction() as transaction:
        await transaction.park([a_parked(1), a_parked(2)], quota=2)
        assert await transaction.drop_parked(["p001", "p404"]) == 1
        assert await transaction.drop_parked([]) == 0
        assert len(await transaction.park([a_parked(3), a_parked(4)], quota=2)) == 1
        assert [message.id for message in await transaction.parked()] == ["p003", "p002"]


async def test_the_quota_holds_for_workers_at_once(installation: Installation) -> None:
    """Two workers that park for one sender together store no more than the quota."""
    one, two = await installation.open(), await installation.open()

    async def park(store: Store, first: int) -> int:
        async with store.transaction() as transaction:
            return len(await transaction.park([a_parked(first + n) for n in range(4)], quota=5))

    assert sum(await asyncio.gather(park(one, 10), park(two, 20))) == 5
