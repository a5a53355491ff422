"""Notification channels, proofs of addresses, challenges."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ProofState
from aoi_events.ports.store import Store
from tests.conformance.store.conftest import Installation
from tests.support.rows import (
    NOW,
    a_channel,
    a_client,
    a_proof,
    client_id,
    fill,
    later,
)


async def test_channels_come_back_best_first(store: Store) -> None:
    """Channels survive with all their fields, closed ones too, in the order of their rank."""
    sms = a_channel(1, "sms", 1, address="+49\0", parameters={"number": "+49", "n": 3, "b": True})
    websocket = a_channel(1, "websocket", 0, largest_content=4096, changed_at=NOW)
    ended = a_channel(1, "aaa", 2)
    closed = ended.closed(CloseReason.ADDRESS_REFUSED, NOW, "bad number\0")
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2, 3))
        await transaction.save_channels([closed, sms, websocket, a_channel(2)])
        found = await transaction.channels([client_id(1), client_id(2), client_id(3)])
    assert found == {client_id(1): [websocket, sms, closed], client_id(2): [a_channel(2)]}


async def test_proofs_are_dropped(store: Store) -> None:
    """Dropping forgets just the named proofs, unknown ones too."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_proofs([a_proof(1), a_proof(1, "+492"), a_proof(2)])
        await transaction.drop_proofs(
            [(client_id(1), "sms", "+492"), (client_id(2), "sms", "+492")]
        )
        await transaction.drop_proofs([])
        found = await transaction.proofs([client_id(1), client_id(2)])
    assert found == {client_id(1): [a_proof(1)], client_id(2): [a_proof(2)]}


async def test_channels_are_replaced_and_dropped(store: Store) -> None:
    """A type stands once per client; dropping forgets just the named ones, unknown ones too."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_channels([a_channel(1), a_channel(1, "websocket"), a_channel(2)])
        moved = a_channel(1, rank=5, address="x")
        await transaction.save_channels([moved])
        await transaction.drop_channels([(client_id(1), "websocket"), (client_id(9), "sms")])
        found = await transaction.channels([client_id(1), client_id(2)])
        assert found == {client_id(1): [moved], client_id(2): [a_channel(2)]}
        await transaction.drop_channels([])
        await transaction.save_channels([])
        assert await transaction.channels([]) == {}


async def test_proofs(store: Store) -> None:
    """Proofs are found by client and by address, as they were saved last."""
    mine, other = a_proof(1), a_proof(2)
    proved = replace(
        mine, state=ProofState.PROVED, proved_at=NOW, proved_until=later(9), deadline=later(5)
    )
    elsewhere = a_proof(1, "+492", deadline=None, state=ProofState.FAILED)
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_proofs([mine, other, elsewhere])
        await transaction.save_proofs([proved])
        assert await transaction.proofs([client_id(1), client_id(3)]) == {
            client_id(1): [proved, elsewhere]
        }
        found = await transaction.proofs_of_addresses([("sms", "+491"), ("webhook", "+492")])
        assert sorted(found, key=lambda proof: proof.client) == [proved, other]
        assert await transaction.proofs([]) == {}
        assert list(await transaction.proofs_of_addresses([])) == []


async def test_an_address_is_proved_by_one_client(store: Store) -> None:
    """A second client cannot prove an address that the first one has (no borrowed addresses)."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_proofs([a_proof(1, state=ProofState.PROVED), a_proof(2)])
    with pytest.raises(IntegrityError):
        async with store.transaction() as transaction:
            await transaction.save_proofs([a_proof(2, state=ProofState.PROVED)])


@pytest.mark.parametrize("winner_first", [True, False])
async def test_an_address_changes_hands_in_one_batch(store: Store, winner_first: bool) -> None:
    """Proving an address takes it from another client, in whichever order the two are given."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_proofs([a_proof(2, state=ProofState.PROVED)])
        given = [a_proof(1, state=ProofState.PROVED), a_proof(2, state=ProofState.FAILED)]
        await transaction.save_proofs(given if winner_first else given[::-1])
        assert await transaction.proofs_of_addresses([("sms", "+491")]) == given


async def test_due_proofs_are_claimed_earliest_first(store: Store) -> None:
    """What is due is claimed in order and up to the limit, and not again before ``until``."""
    async with store.transaction() as transaction:
        await fill(transaction, (1, 2, 3, 4))
        await transaction.save_proofs(
            [
                a_proof(1, deadline=later(3)),
                a_proof(2, deadline=later(1)),
                a_proof(3, deadline=later(30)),
                a_proof(4, deadline=None),
            ]
        )
    key = [(client_id(n), "sms", "+491") for n in range(5)]
    async with store.transaction() as transaction:
        assert await transaction.claim_due_proofs(later(3), 1, until=later(60)) == [key[2]]
        assert await transaction.claim_due_proofs(later(3), 9, until=later(60)) == [key[1]]
        assert await transaction.claim_due_proofs(later(3), 9, until=later(60)) == []
        claimed = (await transaction.proofs([client_id(1)]))[client_id(1)][0]
        assert claimed == a_proof(1, deadline=later(60))
        # Earliest first again: the claims have moved the others back.
        assert await transaction.claim_due_proofs(later(60), 1, until=later(90)) == [key[3]]


async def test_two_workers_claim_different_proofs(installation: Installation) -> None:
    """Of two claims at once, neither gets what the other got, and nothing is left."""
    one, two = await installation.open(), await installation.open()
    async with one.transaction() as transaction:
        await fill(transaction, range(20))
        await transaction.save_proofs([a_proof(n, deadline=NOW) for n in range(20)])

    async def claim(store: Store) -> list[tuple[str, str, str]]:
        claimed: list[tuple[str, str, str]] = []
        while True:
            async with store.transaction() as transaction:
                some = await transaction.claim_due_proofs(NOW, 3, until=later(60))
            if not some:
                return claimed
            claimed += some

    first, second = await asyncio.gather(claim(one), claim(two))
    # A claim skips what the other one holds at the moment; that one has it then.
    assert sorted(first + second) == sorted((client_id(n), "sms", "+491") for n in range(20))


async def test_challenges_are_counted(store: Store) -> None:
    """Challenges count since a time, overall or narrowed by channel, address and client."""
    async with store.transaction() as transaction:
        await transaction.save_clients([a_client(1), a_client(2)])
        await transaction.note_challenges(
            [(a_proof(1), NOW), (a_proof(1), later(10)), (a_proof(2), later(20))]
        )
        await transaction.note_challenges([(a_proof(2, "+492", channel="webhook"), later(30))])
        await transaction.note_challenges([])
        count = transaction.count_challenges
        assert await count(since=NOW) == 4
        assert await count(since=later(10)) == 3
        assert await count(since=NOW, channel="sms", address="+491") == 3
        assert await count(since=NOW, client=client_id(2)) == 2
        assert await count(since=later(25), client=client_id(2), channel="sms") == 0
