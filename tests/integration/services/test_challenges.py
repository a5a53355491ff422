"""Rounds of challenges: sent again, refused, given up, and opened anew."""

from __future__ import annotations

from aoi_events.contracts.states import CloseReason
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.integration.services.proving import code_of, confirm, state
from tests.support.system import System


async def test_wrong_codes_are_counted_and_end_the_round(proving: System) -> None:
    """Challenges are limited: after five wrong codes the address is given up; a new offer opens a
    new round with another code.
    """
    device = await proving.device("scripted:a1")
    first = await proving.provider.next_challenge()
    for _ in range(5):
        assert code_of(await confirm(device, "AAAAAAAAAAAAAAAA")) == "challenge_wrong"
    closed = await proving.events.wait_for("channel.closed", client=device.client)
    assert closed.data.reason == CloseReason.WRONG_CODES  # type: ignore[union-attr]
    assert code_of(await confirm(device, first.code)) == "challenge_expired"
    await proving.events.wait_for("channel.closed", count=2, client=device.client)
    assert len({event.id for event in proving.events.of("channel.closed")}) == 1
    proving.clock.advance(1)
    assert state(await device.activate("scripted:a1")) == "pending"
    second = await proving.provider.next_challenge()
    assert second.code != first.code
    assert state(await confirm(device, second.code)) == "active"


async def test_the_challenge_is_sent_again_and_then_given_up(proving: System) -> None:
    """Challenges have deadlines: sent again, then given up, with an event."""
    node = await proving.node()
    device = await proving.device("scripted:a1")
    codes = [(await proving.provider.next_challenge()).code]
    for _ in range(2):
        await proving.advance(121)
        codes.append((await proving.provider.next_challenge()).code)
    assert len(set(codes)) == 1
    await proving.advance(121)
    await proving.events.wait_for("channel.closed", client=device.client)
    assert len(proving.provider.challenges) == 3
    (closed,) = (await node.connect(device)).closed
    assert closed.reason == CloseReason.NOT_PROVED


@BOTH
async def test_a_challenge_refused_for_good_ends_the_offer(open_system: OpenSystem) -> None:
    """An unreachable number is not pending for minutes: its channel closes at once, the client
    learns why, and a later offer opens a round of its own.
    """
    system = await open_system(plugin={"needs_proof": True})
    node = await system.node()
    system.provider.script(Say.rejected(closes_channel=True))
    device = await system.device("scripted:a1")
    first = await system.provider.next_challenge()
    closed = await system.events.wait_for("channel.closed", client=device.client)
    assert closed.data.reason == CloseReason.CHALLENGE_REFUSED  # type: ignore[union-attr]
    assert closed.data.detail == "no such address"  # type: ignore[union-attr]
    (told,) = (await node.connect(device)).closed
    assert (told.reason, told.detail) == (CloseReason.CHALLENGE_REFUSED, "no such address")
    assert code_of(await confirm(device, first.code)) == "challenge_expired"
    await system.advance(1_000)
    assert len(system.provider.challenges) == 1
    assert state(await device.activate("scripted:a1")) == "pending"
    second = await system.provider.next_challenge()
    assert state(await confirm(device, second.code)) == "active"


@BOTH
async def test_a_challenge_refused_for_now_goes_out_again_soon(open_system: OpenSystem) -> None:
    """The next one follows along the retry schedule, or when the provider wants it."""
    system = await open_system(plugin={"needs_proof": True})
    system.provider.script(Say.refused(), Say.refused(retry_after=30))
    device = await system.device("scripted:a1")
    first = await system.provider.next_challenge()

    async def due_in() -> float | None:
        async with system.installation.store.transaction(read_only=True) as tx:
            (proof,) = (await tx.proofs({device.client}))[device.client]
        left = proof.deadline - system.clock.now() if proof.deadline is not None else None
        return left.total_seconds() if left is not None else None

    await system.until(due_in, lambda left: left is not None and left <= 1)
    await system.advance(1)
    assert (await system.provider.next_challenge()).code == first.code
    await system.until(due_in, lambda left: left == 30)
    await system.advance(29)
    assert len(system.provider.challenges) == 2
    await system.advance(1)
    third = await system.provider.next_challenge()
    assert state(await confirm(device, third.code)) == "active"


async def test_a_repeated_offer_sends_no_second_challenge(proving: System) -> None:
    """Offered again while a challenge is out, its worker sends each number once."""
    device = await proving.device("scripted:a1")
    await proving.provider.next_challenge()
    await device.activate("scripted:a1")
    await device.activate("scripted:a1", sequence=device.sequence)
    await proving.advance(121)
    await proving.provider.next_challenge()
    assert len(proving.provider.challenges) == 2


async def test_a_round_that_nobody_waits_for_ends(proving: System) -> None:
    """A channel withdrawn while its challenge is out is not challenged again, and can be offered
    anew later, with a challenge that does go out.
    """
    device = await proving.device("scripted:a1")
    first = await proving.provider.next_challenge()
    await device.activate("websocket")
    await proving.advance(121)
    await device.activate("scripted:a1")
    second = await proving.provider.next_challenge()
    assert second.code != first.code
    assert state(await confirm(device, second.code)) == "active"


@BOTH
async def test_addresses_that_were_given_up_are_forgotten(open_system: OpenSystem) -> None:
    """A client that offers one address after another, for ever, leaves no row of each behind."""
    system = await open_system(plugin={"needs_proof": True})
    device = await system.device()
    for number in range(5):
        await device.activate(f"scripted:a{number}")
        await system.advance(1_000)
    await device.activate("scripted:a4")
    async with system.installation.store.transaction(read_only=True) as tx:
        assert [p.address for p in (await tx.proofs({device.client}))[device.client]] == ["a4"]
    assert state(await device.activate("scripted:a1")) == "pending"
