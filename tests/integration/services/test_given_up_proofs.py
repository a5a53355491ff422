"""Proofs of addresses that were given up: which of them an activation forgets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aoi_events.domain.clients.channels import Proof, ProofState
from tests.integration.services.conftest import OpenSystem
from tests.support.rows import a_proof
from tests.support.system import System


async def addresses(system: System, client: str) -> set[str]:
    """The addresses of which there are proofs."""
    async with system.installation.store.transaction(read_only=True) as tx:
        return {proof.address for proof in (await tx.proofs([client]))[client]}


async def test_a_given_up_proof_is_forgotten_when_nothing_tells_of_it(
    open_system: OpenSystem,
) -> None:
    """Not while a limit still holds for its address, not while it is open or proved, and not while
    a channel that ended tells of it: only the next activation forgets that one.
    """
    system = await open_system(plugin={"needs_proof": True})
    device = await system.client()
    await device.activate("websocket", "scripted:named")
    now = system.clock.now()

    def proof(address: str, state: ProofState, *, waits: bool) -> Proof:
        row = a_proof(1, address, state=state, deadline=now + timedelta(hours=1) if waits else None)
        return replace(row, client=device.client, channel="scripted", opened_at=now)

    async with system.installation.store.transaction() as tx:
        await tx.save_proofs(
            [
                proof("named", ProofState.FAILED, waits=False),
                proof("given up", ProofState.FAILED, waits=False),
                proof("limited", ProofState.FAILED, waits=True),
                proof("open", ProofState.OPEN, waits=True),
                proof("proved", ProofState.PROVED, waits=False),
            ]
        )
    await device.activate("websocket")
    assert await addresses(system, device.client) == {"named", "limited", "open", "proved"}
    await device.activate("websocket")
    assert await addresses(system, device.client) == {"limited", "open", "proved"}
