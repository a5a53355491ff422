"""Two workers at the same rows at the same moment, on the store where that can happen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aoi_events.contracts.answers import ChannelsActivatedV1, ClientRegisteredV1
from aoi_events.domain.channels import ProofState
from aoi_events.domain.clients import Client, Presence, client_id_of
from aoi_events.domain.proofs import challenge_code
from aoi_events.ports.store import Lock
from tests.containers import SOMEBODY_WAITS
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.harness import System, secret_and_hash
from tests.limits import WITHIN

pytestmark = pytest.mark.parametrize("backend", ["memory+postgresql"], indirect=True)


async def somebody_waits(system: System) -> None:
    """Return as soon as a transaction waits for a lock of another one."""
    url = system.installation.settings.store.get_secret_value()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with asyncio.timeout(WITHIN):
            # Each look is a round trip to the server, so this loop is no busy one.
            while not await connection.fetchval(SOMEBODY_WAITS):
                continue
    finally:
        await connection.close()


async def patience_passes(system: System) -> None:
    """The worker rests before it tries again, and then it has rested long enough."""
    async with asyncio.timeout(WITHIN):
        await system.clock.somebody_sleeps()
    system.clock.advance(6)


async def test_one_secret_registered_twice_at_once(open_system: OpenSystem) -> None:
    """Section 4: a repeated request gets the same ID, also at the very same moment; what became of
    the client meanwhile (its connection, its number of commands) stays.
    """
    system = await open_system(workers=["registration"])
    user = await system.user("devices")
    _, hashed = secret_and_hash()
    now = system.clock.now()
    first = Client(
        id=client_id_of(hashed),
        secret_hash=hashed,
        device="phone",
        identity="a",
        registered_at=now,
        seen_at=now,
        sequence=3,
        epoch=7,
        presence=Presence("gw-1", "s1"),
    )
    body: dict[str, Any] = {"device": "phone", "identity": "a", "secret_hash": hashed}
    async with system.installation.store.transaction() as tx:
        assert await tx.add_clients([first]) == {first.id}
        asking = asyncio.ensure_future(user.ask("client.register", **body))
        await somebody_waits(system)
    await patience_passes(system)
    answer = await asking
    assert isinstance(answer, ClientRegisteredV1)
    assert answer.client == first.id
    async with system.installation.store.transaction(read_only=True) as tx:
        (kept,) = (await tx.clients({first.id})).values()
    assert kept == replace(first, seen_at=kept.seen_at)


async def test_an_address_offered_while_it_is_proved(open_system: OpenSystem) -> None:
    """Promise (no borrowed addresses): proving an address takes it from whoever came in at the last
    moment, too, and clients are never locked out of order for it.
    """
    system = await open_system(plugin={"needs_proof": True}, workers=["registration", "activation"])
    mine, other = await system.device(), await system.device(identity="b")
    await mine.activate("scripted:a1")
    store = system.installation.store
    async with store.transaction(read_only=True) as tx:
        (proof,) = (await tx.proofs({mine.client}))[mine.client]
    code = challenge_code(system.installation.services.challenge_key, proof)
    async with store.transaction() as tx:
        await tx.clients({mine.client}, Lock.EXCLUSIVE)
        asking = asyncio.ensure_future(mine.ask("channel.confirm", channel="scripted", code=code))
        await somebody_waits(system)
        await tx.save_proofs([replace(proof, client=other.client)])
    await patience_passes(system)
    answer = await asking
    assert isinstance(answer, ChannelsActivatedV1)
    assert [row.state for row in answer.selected] == ["active"]
    async with store.transaction(read_only=True) as tx:
        (lost,) = (await tx.proofs({other.client}))[other.client]
    assert lost.state is ProofState.FAILED
