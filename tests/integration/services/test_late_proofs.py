"""Proofs that are looked at, or confirmed, when what they were opened for has changed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeKind
from aoi_events.domain.clients.channels import Proof, ProofState
from aoi_events.services.deadlines.proofs import DueProofs
from aoi_events.services.outcome.handler import OutcomeHandler
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.proving import DAY, code_of, confirm, prove, state
from tests.support.actors import Device
from tests.support.system import System


async def proofs_of(system: System, device: Device) -> dict[str, Proof]:
    """The device's proofs by address."""
    async with system.installation.store.transaction(read_only=True) as tx:
        found = await tx.proofs({device.client})
    return {proof.address: proof for proof in found.get(device.client, ())}


async def test_a_proof_that_was_confirmed_since_its_claim_is_left_alone(proving: System) -> None:
    """A deadlines worker claims a challenge that is due, and the device confirms it before the
    worker looks at it: nothing is sent, and the proof holds as long as it was confirmed for.
    """
    device = await proving.device("scripted:a1")
    code = (await proving.provider.next_challenge()).code
    proving.clock.advance(121)
    now, found = proving.clock.now(), proving.installation
    until = now + timedelta(seconds=5)
    async with found.store.transaction() as tx:
        claimed = await tx.claim_due_proofs(now, 9, until=until)
    assert state(await confirm(device, code)) == "active"
    before = await proofs_of(proving, device)
    due = DueProofs(found.store, found.broker, found.services, proving.clock, batch=9)
    await due._process(claimed, now, until)
    assert await proofs_of(proving, device) == before
    assert before["a1"].state is ProofState.PROVED


async def test_an_address_that_was_replaced_gets_no_more_challenges(proving: System) -> None:
    """The client offers another address while a challenge is open: the round of the first one ends,
    and its code is sent no more.
    """
    device = await proving.device("scripted:a1")
    await device.activate("scripted:a2")
    codes = [(await proving.provider.next_challenge()).code for _ in "12"]
    await proving.advance(121)
    again = await proving.provider.next_challenge()
    assert (again.code, again.parameters) == (codes[1], {"address": "a2"})
    assert len(proving.provider.challenges) == 3
    proofs = await proofs_of(proving, device)
    assert {address: proof.state for address, proof in proofs.items()} == {
        "a1": ProofState.FAILED,
        "a2": ProofState.OPEN,
    }


async def test_a_proof_that_no_channel_uses_holds_until_it_lapses(proving: System) -> None:
    """A proof holds for 90 days, also of an address that is not offered when it would be renewed:
    offered again in time it needs no challenge.
    """
    device = await proving.device()
    await prove(proving, device, "a1")
    await device.ask("channel.deactivate", sequence=device.next(), channels=[])
    await proving.advance(84 * DAY)
    assert (await proofs_of(proving, device))["a1"].state is ProofState.PROVED
    assert state(await device.activate("scripted:a1")) == "active"
    assert len(proving.provider.challenges) == 1


@pytest.mark.parametrize("address,closed", [("a1", True), ("a2", False)])
async def test_a_refused_challenge_closes_the_channel_of_its_address(
    open_system: OpenSystem, address: str, *, closed: bool
) -> None:
    """The provider's refusal comes when the client offers another address by now: that one stays
    pending.
    """
    system = await open_system(
        plugin={"needs_proof": True}, workers=("registration", "activation", "scripted")
    )
    device = await system.device("scripted:a1")
    item = await system.provider.next_challenge()
    await device.activate(f"scripted:{address}")
    refused = item.outcome(OutcomeKind.REJECTED, system.clock.now(), closes_channel=True)
    found = system.installation
    handler = OutcomeHandler(found.store, found.services, system.clock, system.dice)
    await handler.handle([OutcomeBatchV1(items=(), challenges=(refused,))])
    async with found.store.transaction(read_only=True) as tx:
        (row,) = (await tx.channels({device.client}))[device.client]
    assert (row.address, row.state) == (address, "closed" if closed else "pending")
    assert (await proofs_of(system, device))["a1"].state is ProofState.FAILED


async def test_a_code_that_comes_after_its_channel_was_given_up_opens_nothing(
    proving: System,
) -> None:
    """The client deactivated the channel while its challenge was out: the code does not bring it
    back.
    """
    device = await proving.device("scripted:a1")
    code = (await proving.provider.next_challenge()).code
    await device.ask("channel.deactivate", sequence=device.next(), channels=["scripted"])
    assert code_of(await confirm(device, code)) == "challenge_expired"
    async with proving.installation.store.transaction(read_only=True) as tx:
        (row,) = (await tx.channels({device.client}))[device.client]
    assert row.state == "closed"
