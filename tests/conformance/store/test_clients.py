"""Clients and their app instances."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from aoi_events.domain.clients.client import Presence
from aoi_events.ports.store import Lock, Store
from tests.support.rows import NOW, a_client, an_application, client_id, later


async def test_clients_come_back_as_they_were_saved(store: Store) -> None:
    """Every field of a client survives, the optional ones included."""
    plain = a_client(1)
    full = a_client(
        2,
        sequence=2**62,
        sequence_hash="ab",
        epoch=7,
        presence=Presence("node-1", "s1"),
        presences=(Presence("node-0", "s0"), Presence("node-1", "s1")),
        retired_at=later(0.000001),
        retired_reason="reassigned",
    )
    async with store.transaction() as transaction:
        await transaction.save_clients([full, plain])
    async with store.transaction(read_only=True) as transaction:
        found = await transaction.clients([plain.id, full.id, client_id(3)])
    assert found == {plain.id: plain, full.id: full}


@pytest.mark.parametrize("lock", Lock)
async def test_clients_are_found_under_every_lock(store: Store, lock: Lock) -> None:
    """Locking changes nothing of what is found, comes in key order, and twice is as once."""
    async with store.transaction() as transaction:
        await transaction.save_clients([a_client(n) for n in (3, 1, 2)])
        for _ in range(2):
            found = await transaction.clients([client_id(n) for n in (2, 3, 1, 9)], lock)
            assert list(found) == [client_id(n) for n in (1, 2, 3)]


async def test_saving_again_replaces(store: Store) -> None:
    """A second save of the same ID replaces every field; the last of one batch wins."""
    first = a_client(1, presence=Presence("a", "b"), retired_at=NOW, retired_reason="x")
    last = a_client(1, device="new", secret_hash="ff" * 32)
    async with store.transaction() as transaction:
        await transaction.save_clients([first])
        await transaction.save_clients([replace(last, epoch=3), last])
        assert await transaction.clients([last.id]) == {last.id: last}


async def test_clients_by_secret(store: Store) -> None:
    """A client is found by the hash of its secret, retired or not; unknown hashes are absent."""
    live, retired = a_client(1), a_client(2, retired_at=NOW)
    async with store.transaction() as transaction:
        await transaction.save_clients([live, retired])
        hashes = [live.secret_hash, retired.secret_hash, "00" * 32]
        assert await transaction.clients_by_secret(hashes) == {
            live.secret_hash: live,
            retired.secret_hash: retired,
        }


async def test_a_secret_belongs_to_one_client(store: Store) -> None:
    """Two clients with one secret hash cannot be saved, whatever the caller believes."""
    with pytest.raises(IntegrityError):
        async with store.transaction() as transaction:
            await transaction.save_clients([a_client(1), replace(a_client(1), id=client_id(2))])
    async with store.transaction() as transaction:
        assert await transaction.clients([client_id(1), client_id(2)]) == {}


async def test_count_clients(store: Store) -> None:
    """Only clients of the identity count, and only those registered since then."""
    async with store.transaction() as transaction:
        same = [a_client(n, identity="sip:a@b", registered_at=later(n)) for n in range(4)]
        await transaction.save_clients([*same, a_client(9)])
        count = transaction.count_clients
        asked = ["sip:a@b", "nobody", "sip:a@b"]
        assert await count(asked, since=later(2)) == {"sip:a@b": 2}
        assert await count([*asked, a_client(9).identity], since=NOW) == {
            "sip:a@b": 4,
            a_client(9).identity: 1,
        }
        assert await count([], since=NOW) == {}


async def test_any_text_is_kept(store: Store) -> None:
    """Text that a database would refuse (NUL, lone surrogates) comes back, and is found by."""
    odd = a_client(1, identity="a\0b\\0041\ud800é😀", device="\0")
    async with store.transaction() as transaction:
        await transaction.save_clients([odd])
        assert await transaction.clients([odd.id]) == {odd.id: odd}
        counted = await transaction.count_clients([odd.identity], since=NOW)
        assert counted == {odd.identity: 1}


async def test_applications(store: Store) -> None:
    """App instances are found by client and key, and by client, as they were saved last."""
    first, second = an_application(1), an_application(1, "com.example.mail")
    revoked = replace(second, registered=False, revoked_reason="deregistered", generation=2)
    other = an_application(2)
    async with store.transaction() as transaction:
        await transaction.save_clients([a_client(1), a_client(2)])
        await transaction.save_applications([first, second, other])
        await transaction.save_applications([revoked])
        keys = [(app.client, app.app_key) for app in (first, revoked)]
        for lock in Lock:
            found = await transaction.applications([*keys, (client_id(3), "00")], lock)
            assert found == dict(zip(keys, (first, revoked), strict=True))
        mine = await transaction.applications_of([client_id(1), client_id(3)])
        assert sorted(mine, key=lambda app: app.application) == [revoked, first]


async def test_nothing_asked_nothing_found(store: Store) -> None:
    """Empty batches are answered without fuss."""
    async with store.transaction() as transaction:
        await transaction.save_clients([])
        await transaction.save_applications([])
        assert await transaction.clients([]) == {}
        assert await transaction.clients_by_secret([]) == {}
        assert await transaction.applications([]) == {}
        assert list(await transaction.applications_of([])) == []


async def test_token_keys_in_use_are_counted(store: Store) -> None:
    """Only tokens that are valid need their key; whose was revoked does not."""
    async with store.transaction() as transaction:
        assert await transaction.token_keys_in_use() == {}
        await transaction.save_clients([a_client(1), a_client(2)])
        await transaction.save_applications(
            [
                an_application(1, "a"),
                an_application(1, "b", key_id="k2"),
                an_application(2, "a", key_id="k2"),
                an_application(2, "b", key_id="k0", registered=False),
            ]
        )
        assert await transaction.token_keys_in_use() == {"k1": 1, "k2": 2}
        samples = await transaction.token_samples()
        assert sorted(app.key_id for app in samples) == ["k1", "k2"]
        assert all(app.registered for app in samples)


async def test_applications_of_a_client_are_counted(store: Store) -> None:
    """Those that are registered and those that ended, each for themselves; and either can go."""
    async with store.transaction() as transaction:
        await transaction.save_clients([a_client(1), a_client(2)])
        both = [client_id(1), client_id(2), client_id(1)]
        assert await transaction.count_applications(both) == {}
        assert await transaction.count_applications([]) == {}
        await transaction.save_applications(
            [
                an_application(1, "a"),
                an_application(1, "b", registered=False),
                an_application(1, "c", registered=False),
                an_application(2, "a"),
            ]
        )
        assert await transaction.count_applications(both) == {
            client_id(1): (1, 2),
            client_id(2): (1, 0),
        }
        gone = an_application(1, "c").app_key
        await transaction.drop_applications({(client_id(1), gone), (client_id(2), gone)})
        await transaction.drop_applications(set())
        assert (await transaction.count_applications(both))[client_id(1)] == (1, 1)
        assert len(await transaction.applications_of({client_id(1), client_id(2)})) == 3


async def test_a_client_that_is_there_is_not_added(store: Store) -> None:
    """Only new IDs are inserted; rows that exist stay unchanged."""
    known = a_client(1, epoch=7, presence=Presence("node-1", "s1"))
    async with store.transaction() as transaction:
        await transaction.save_clients([known])
        added = await transaction.add_clients([a_client(2), a_client(1)])
        assert added == {client_id(2)}
        assert (await transaction.clients({known.id}))[known.id] == known
        assert await transaction.add_clients([]) == set()
