"""How many challenges go out per address, per client and overall."""

from __future__ import annotations

from aoi_events.contracts.states import CloseReason
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.proving import DAY, prove, state


async def test_challenges_are_limited(open_system: OpenSystem) -> None:
    """Challenges are limited per address, per client and overall; the answer says so."""
    system = await open_system(
        plugin={"needs_proof": True},
        policy={"challenges_per_address": 2, "challenges_per_client": 2, "challenges_overall": 5},
    )
    devices = [await system.device() for _ in range(5)]
    for device in devices[:2]:
        assert state(await device.activate("scripted:a1")) == "pending"
    assert state(await devices[2].activate("scripted:a1")) is None  # that address
    assert state(await devices[0].activate("scripted:a2")) == "pending"
    answer = await devices[0].activate("scripted:a3")  # that client
    assert state(answer) is None
    assert answer.not_selected[0].reason == CloseReason.TOO_MANY_CHALLENGES
    assert state(await devices[3].activate("scripted:a4")) == "pending"
    assert state(await devices[4].activate("scripted:a5")) == "pending"
    assert state(await devices[4].activate("scripted:a6")) is None  # overall
    system.clock.advance(3_601)
    assert state(await devices[4].activate("scripted:a6")) == "pending"


async def test_challenges_are_limited_whoever_sends_them(open_system: OpenSystem) -> None:
    """Many clients that claim one number do not make it ring: repeated challenges count like first
    ones, and a refusal by the limit names its reason.
    """
    system = await open_system(
        plugin={"needs_proof": True}, policy={"clients_per_identity": 9, "challenges_per_client": 9}
    )
    devices = [await system.device("scripted:victim") for _ in range(6)]
    for _ in range(8 * 60 // 20):
        await system.advance(20)
    for device in devices[:5]:
        closed = await system.events.wait_for("channel.closed", client=device.client)
        assert closed.data.reason == CloseReason.TOO_MANY_CHALLENGES  # type: ignore[union-attr]
    assert len(system.provider.challenges) == 5


async def test_a_renewal_waits_for_its_turn(open_system: OpenSystem) -> None:
    """A proof that holds is not lost because others used the hour's challenges up: it is renewed
    later.
    """
    system = await open_system(plugin={"needs_proof": True}, policy={"challenges_overall": 1})
    device = await system.device()
    await prove(system, device, "a1")
    system.clock.advance(83 * DAY - 60)
    other = await system.device()
    await prove(system, other, "b1")
    await system.advance(120)
    assert len(system.provider.challenges) == 2
    assert state(await device.activate("scripted:a1")) == "active"
    await system.advance(3_600)
    assert (await system.provider.next_challenge()).client == device.client
