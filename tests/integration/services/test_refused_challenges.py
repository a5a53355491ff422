"""A provider did not take a challenge: of which proof and channel that says something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aoi_events.contracts.envelopes import ChallengeOutcome, OutcomeKind, challenge_id
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import Channel, Proof, ProofState
from aoi_events.domain.clients.proofs import challenge_code
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock
from aoi_events.services.outcome.refused_challenges import note_refused_challenges
from tests.integration.services.conftest import OpenSystem
from tests.support.actors import Device
from tests.support.system import WORKERS, System


@pytest.fixture
async def system(open_system: OpenSystem) -> System:
    """Every worker but that of the channel, whose addresses must be proved."""
    workers = [name for name in WORKERS if name != "scripted"]
    return await open_system(workers=workers, plugin={"needs_proof": True})


async def proof_of(system: System, device: Device, address: str) -> Proof:
    """The client's proof of the address."""
    async with system.installation.store.transaction(read_only=True) as tx:
        proofs = (await tx.proofs({device.client}))[device.client]
    (proof,) = [each for each in proofs if each.address == address]
    return proof


async def channel_of(system: System, device: Device) -> Channel:
    """The client's only channel."""
    async with system.installation.store.transaction(read_only=True) as tx:
        (row,) = (await tx.channels({device.client}))[device.client]
    return row


async def renewing(system: System, device: Device) -> Proof:
    """The client's address is proved, and the challenge that renews it is out."""
    await device.activate("scripted:a1")
    proof = await proof_of(system, device, "a1")
    code = challenge_code(system.installation.services.challenge_key, proof)
    await device.ask("channel.confirm", channel="scripted", code=code)
    later = replace(
        await proof_of(system, device, "a1"),
        sent=1,
        opened_at=proof.opened_at + timedelta(days=83),
    )
    async with system.installation.store.transaction() as tx:
        await tx.save_proofs([later])
    return later


def refused(system: System, proof: Proof, **more: Any) -> ChallengeOutcome:
    """The provider will never take the challenge that is out for the proof."""
    code = challenge_code(system.installation.services.challenge_key, proof)
    return ChallengeOutcome(
        challenge=challenge_id(proof.client, proof.channel, code),
        attempt=proof.sent,
        kind=OutcomeKind.REJECTED,
        at=system.clock.now(),
        client=proof.client,
        channel=proof.channel,
    ).model_copy(update=more)


async def note(system: System, *outcomes: ChallengeOutcome) -> Sequence[Outbound]:
    """Merge the outcomes, as the worker does that holds the clients."""
    found = system.installation
    async with found.store.transaction() as tx:
        await tx.clients({outcome.client for outcome in outcomes}, Lock.EXCLUSIVE)
        return await note_refused_challenges(
            tx, outcomes, found.services, system.clock.now(), system.dice
        )


async def test_an_address_that_was_offered_since_stays(system: System) -> None:
    """An unreachable number ends with its own proof; the channel has another address by now, whose
    challenge is open.
    """
    device = await system.device("scripted:a1")
    await device.activate("scripted:a2")
    before = await channel_of(system, device)
    assert await note(system, refused(system, await proof_of(system, device, "a1"))) == []
    assert (await proof_of(system, device, "a1")).state is ProofState.FAILED
    assert (await proof_of(system, device, "a2")).state is ProofState.OPEN
    assert await channel_of(system, device) == before


async def test_another_clients_word_says_nothing(system: System) -> None:
    """An outcome speaks for the client that it names, not for the challenge of another that is
    merged in the same batch.
    """
    mine, other = await system.device("scripted:a1"), await system.device("scripted:b1")
    proofs = await proof_of(system, mine, "a1"), await proof_of(system, other, "b1")
    forged = refused(system, proofs[0], client=other.client)
    late = refused(system, proofs[0], attempt=proofs[0].sent + 1)
    assert await note(system, forged, late) == []
    assert await proof_of(system, mine, "a1") == proofs[0]
    assert await proof_of(system, other, "b1") == proofs[1]
    assert (await channel_of(system, mine)).reason is None


async def test_a_proof_that_holds_outlives_a_refused_renewal(system: System) -> None:
    """Whatever the provider does not take, the proof holds until its 90 days end."""
    device = await system.device()
    proof = await renewing(system, device)
    assert await note(system, refused(system, proof)) == []
    assert await proof_of(system, device, "a1") == proof
    assert (await channel_of(system, device)).usable


async def test_a_bad_address_ends_a_proof_that_holds(system: System) -> None:
    """An address that the provider calls bad loses its proof and closes its channel, and the event
    says why.
    """
    device = await system.device()
    proof = await renewing(system, device)
    told = await note(system, refused(system, proof, closes_channel=True, detail="nobody there"))
    assert [each.routing_key.rpartition(".")[0] for each in told] == ["channel.closed"]
    assert (await proof_of(system, device, "a1")).state is ProofState.FAILED
    row = await channel_of(system, device)
    assert not row.usable
    assert (row.reason, row.detail) == (CloseReason.CHALLENGE_REFUSED, "nobody there")


async def test_what_is_refused_for_now_tells_of_no_end(system: System) -> None:
    """The channel ended for another reason meanwhile; a challenge that goes out again later did not
    end it.
    """
    device = await system.device("scripted:a1")
    await device.ask("channel.deactivate", channels=["scripted"], sequence=device.next())
    proof = await proof_of(system, device, "a1")
    assert await note(system, refused(system, proof, kind=OutcomeKind.REFUSED)) == []
    assert (await proof_of(system, device, "a1")).state is ProofState.OPEN
