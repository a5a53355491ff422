"""No borrowed addresses: a channel is pending until its challenge came back."""

from __future__ import annotations

import asyncio
import hashlib
import logging

import pytest

from aoi_events.contracts.answers import AnyAnswer, ChannelsActivatedV1, RefusedV1
from aoi_events.contracts.requests import ActivateChannelsV1, AnyRequest, ConfirmChannelV1
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState
from aoi_events.ports.broker import Inbound
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import Device
from tests.support.system import System

DAY = 86_400


@pytest.fixture
async def proving(open_system: OpenSystem) -> System:
    """An installation whose scripted channel wants its addresses proved."""
    return await open_system(plugin={"needs_proof": True})


async def confirm(device: Device, code: str) -> AnyAnswer:
    """``channel.confirm`` of the scripted channel."""
    return await device.ask("channel.confirm", channel="scripted", code=code)


async def prove(system: System, device: Device, address: str) -> None:
    """Activate the channel with the address, and prove it."""
    await device.activate(f"scripted:{address}")
    challenge = await system.provider.next_challenge()
    assert state(await confirm(device, challenge.code)) == "active"


def state(answer: AnyAnswer) -> str | None:
    """The scripted channel's state in an answer; None where it is not selected."""
    assert isinstance(answer, ChannelsActivatedV1), answer
    return next((c.state for c in answer.selected if c.type == "scripted"), None)


@BOTH
async def test_a_long_address_is_proved_like_any_other(proving: System) -> None:
    """An address of 4,096 octets, more than an index entry can have, is proved by one client at a
    time; one that differs only at its end is another address.
    """
    parts = (hashlib.sha256(bytes([number])).hexdigest() for number in range(64))
    address = "".join(parts)
    assert len(address) == 4_096
    first, second = await proving.device(), await proving.device(identity="b")
    third = await proving.device(identity="c")
    await prove(proving, first, address)
    await prove(proving, third, address[:-1] + "-")
    await prove(proving, second, address)
    closed = await proving.events.wait_for("channel.closed", client=first.client)
    assert closed.data.reason == CloseReason.TAKEN_OVER  # type: ignore[union-attr]
    shop = await proving.user()
    for device in (second, third):
        await shop.send(f"n-{device.client}", device.token)
        item = await proving.provider.next_delivery()
        assert len(str(item.parameters["address"])) == 4_096


def code_of(answer: AnyAnswer) -> str:
    """Why it was refused."""
    assert isinstance(answer, RefusedV1), answer
    return answer.code


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


@BOTH
async def test_proving_takes_an_address_from_others(open_system: OpenSystem) -> None:
    """Proving an address takes it from any other client (a recycled number)."""
    system = await open_system(plugin={"needs_proof": True})
    shop, node = await system.user(), await system.node()
    old, new = await system.device(), await system.device()
    await prove(system, old, "a1")
    await prove(system, new, "a1")
    closed = await system.events.wait_for("channel.closed", client=old.client)
    assert closed.data.reason == CloseReason.TAKEN_OVER  # type: ignore[union-attr]
    await shop.send("n1", old.token)
    await system.events.wait_for("notification.stored", notification="n1")
    assert len((await node.connect(old)).closed) == 1
    assert system.provider.deliveries == []


@BOTH
async def test_an_address_has_one_owner_whoever_is_quicker(open_system: OpenSystem) -> None:
    """Of clients that prove one address at the same moment, exactly one has it."""
    system = await open_system(plugin={"needs_proof": True})
    await system.run(system.installation.worker("activation"))
    devices = [await system.device() for _ in range(4)]
    codes = []
    for device in devices:
        await device.activate("scripted:a1")
        codes.append((await system.provider.next_challenge()).code)
    await asyncio.gather(*(confirm(d, code) for d, code in zip(devices, codes, strict=True)))
    async with system.installation.store.transaction(read_only=True) as tx:
        rows = await tx.channels({device.client for device in devices})
    active = [row for channels in rows.values() for row in channels if row.usable]
    assert len(active) == 1


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


async def test_nobody_confirms_for_somebody_else(proving: System) -> None:
    """A proof belongs to (client, address): another client's code proves nothing."""
    mine, other = await proving.device("scripted:a1"), await proving.device("scripted:a1")
    codes = {c.client: c.code for c in [await proving.provider.next_challenge() for _ in "12"]}
    assert code_of(await confirm(other, codes[mine.client])) == "challenge_wrong"
    unasked = await mine.refused("channel.confirm", channel="websocket", code="ABCDEF")
    assert unasked.code == "challenge_expired"


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


async def test_an_address_is_offered_again_and_proved_in_one_batch(proving: System) -> None:
    """Two requests of one client that are handled together: the second one sees what the first one
    did, and the earlier holder loses the address though the client's own row named another one
    before.
    """
    mine, other = await proving.device(), await proving.device(identity="b")
    await prove(proving, other, "a1")
    await mine.activate("scripted:a1")
    code = (await proving.provider.next_challenge()).code
    await mine.activate("scripted:a2")
    found = proving.installation
    handler = ActivationHandler(found.store, found.services, proving.clock)
    given = {"version": 1, "client": mine.client, "secret": mine.secret}
    offers = [{"type": "scripted", "parameters": {"address": "a1"}}]
    requests: list[AnyRequest] = [
        ActivateChannelsV1.model_validate(given | {"sequence": mine.next(), "offers": offers}),
        ConfirmChannelV1.model_validate(given | {"channel": "scripted", "code": code}),
    ]
    message = Inbound(body=b"", routing_key="", exchange="", tag=1, reply_to="replies")
    outputs = await handler.handle([IncomingRequest(r, "devices", None, message) for r in requests])
    answers = [ChannelsActivatedV1.decode(o.body) for o in outputs if o.routing_key == "replies"]
    assert [state(answer) for answer in answers] == ["pending", "active"]
    async with found.store.transaction(read_only=True) as tx:
        (row,) = (await tx.channels({other.client}))[other.client]
    assert row.state is ChannelState.CLOSED
