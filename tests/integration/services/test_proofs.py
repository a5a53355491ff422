"""A channel is pending until its challenge came back; a proof holds until it ends."""

from __future__ import annotations

import logging

import pytest

from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.integration.services.proving import DAY, code_of, confirm, prove, state
from tests.support.system import System


@BOTH
async def test_pending_until_the_challenge_came_back(open_system: OpenSystem) -> None:
    """A claimed address becomes active when the device has proved that it receives there; until
    then nothing goes to it, and then what was stored is due.
    """
    system = await open_system(plugin={"needs_proof": True})
    shop = await system.user()
    device = await system.device()
    assert state(await device.activate("scripted:a1")) == "pending"
    await system.events.wait_for("channel.pending", client=device.client)
    await shop.send("n1", device.token)
    await system.events.wait_for("notification.stored", notification="n1")
    challenge = await system.provider.next_challenge()
    assert challenge.parameters == {"address": "a1"}

    answer = await confirm(device, challenge.code)
    assert state(answer) == "active"
    await system.events.wait_for("channel.activated", client=device.client)
    await system.process_due()
    assert (await system.provider.next_delivery()).notification == "n1"
    assert await confirm(device, challenge.code) == answer


async def test_a_proof_holds_over_new_activations(proving: System) -> None:
    """A proof holds for 90 days, so a change of network costs nothing."""
    device = await proving.device()
    await prove(proving, device, "a1")
    await proving.advance(60 * DAY)
    assert state(await device.activate("websocket")) is None
    assert state(await device.activate("websocket", "scripted:a1")) == "active"
    assert len(proving.provider.challenges) == 1


async def test_a_proof_is_renewed_before_it_ends(proving: System) -> None:
    """Proven anew before the 90 days end; without an answer the channel closes then."""
    device = await proving.device()
    await prove(proving, device, "a1")
    await proving.advance(84 * DAY)
    renewal = await proving.provider.next_challenge()
    assert state(await confirm(device, renewal.code)) == "active"
    await proving.advance(7 * DAY)
    assert proving.events.of("channel.closed") == []
    await proving.advance(77 * DAY)
    await proving.provider.next_challenge()
    await proving.advance(8 * DAY)
    await proving.events.wait_for("channel.closed", client=device.client)


async def test_a_confirmation_beats_a_claim_of_the_deadlines_worker(proving: System) -> None:
    """A proof that was confirmed between the claim of its deadline and the look is left alone: no
    challenge goes out for a proof that holds.
    """
    device = await proving.device("scripted:a1")
    challenge = await proving.provider.next_challenge()
    proving.clock.advance(121)
    now = proving.clock.now()
    async with proving.installation.store.transaction() as tx:
        (claimed,) = await tx.claim_due_proofs(now, 10, until=now)
    await confirm(device, challenge.code)
    worker = proving.installation.deadlines()._proofs
    await worker._process([claimed], now, now)
    assert len(proving.provider.challenges) == 1


async def test_a_bad_address_must_be_proved_anew(proving: System) -> None:
    """An address that the provider calls bad loses its proof with its channel."""
    shop = await proving.user()
    device = await proving.device()
    await prove(proving, device, "a1")
    proving.provider.script(Say.rejected(closes_channel=True))
    await shop.send("n1", device.token)
    await proving.events.wait_for("channel.closed", client=device.client)
    proving.clock.advance(1)
    assert state(await device.activate("scripted:a1")) == "pending"


async def test_codes_are_never_logged(proving: System, caplog: pytest.LogCaptureFixture) -> None:
    """Promise: challenge codes, secrets and tokens are in no log, whatever happens."""
    caplog.set_level(logging.DEBUG)
    shop = await proving.user()
    device = await proving.device()
    await prove(proving, device, "a1")
    code_of(await confirm(device, "AAAAAAAAAAAAAAAA"))
    proving.provider.script(Say.breaks())
    await shop.send("n1", device.token)
    await proving.events.wait_for("notification.stored", notification="n1")
    said = repr([vars(record) for record in caplog.records])
    assert "step_parked" in said
    for secret in (proving.provider.challenges[0].code, device.secret, device.token):
        assert secret not in said
