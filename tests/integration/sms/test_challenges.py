"""Numbers that are only claimed, and how a device proves that it receives there (8.1.2, 8.2.2)."""

from __future__ import annotations

import pytest

from aoi_events import Publisher
from aoi_events.client.core.events import ChallengeReceived, ChannelClosed
from aoi_events.contracts.states import CloseReason
from aoi_events.errors import ErrorCode, RequestRefused
from aoi_events.oma_push.payload import ChallengePush, ContentPush
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import state_of
from tests.support.pushes import payload_of

AGAIN = 121.0
"""Seconds after which an unanswered challenge is sent again."""


@BOTH
async def test_the_challenge_comes_back_through_the_aoi_client(
    server: AoiServer, smsc: LoopbackSmsc, wait_for: WaitFor
) -> None:
    """8.1.2: the device performs what the confirmation asks: the code that reached its number goes
    back over its connection, and SMS is active beside the WebSocket.
    """
    phone = await server.device("phone", apps=["org.mail"], number="+31600000001")
    [message] = smsc.submissions
    assert message.number == "+31600000001"
    assert isinstance(payload_of(message.user_data), ChallengePush)
    await wait_for(ChallengeReceived, device="phone", channel="sms")
    await wait_for("channel.activated", client=phone.client.client_id, channel="sms")
    assert phone.client.channels == {"websocket", "sms"}


async def test_nothing_goes_to_a_number_that_is_only_claimed(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """No borrowed addresses: until the code came back the channel is pending and its notifications
    are stored; then they go.
    """
    phone = await handset(proved=False)
    assert state_of(await phone.offer()) == "pending"
    await shop.send(phone.token, "hello", notification="n1")
    await wait_for("notification.stored", notification="n1")
    code = await phone.code()
    assert len(smsc.submissions) == 1
    assert state_of(await phone.confirm(code)) == "active"
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.content.data == "hello"


async def test_wrong_codes_do_not_open_the_channel(handset: MakeHandset) -> None:
    """A wrong code is refused and counted; the right one is good as long as the round lasts."""
    phone = await handset(proved=False)
    await phone.offer()
    code = await phone.code()
    for _ in range(4):
        with pytest.raises(RequestRefused) as refused:
            await phone.confirm("AAAAAAAAAAAAAAAA")
        assert refused.value.code == ErrorCode.CHALLENGE_WRONG
    assert state_of(await phone.confirm(code.lower())) == "active"


async def test_guessing_ends_the_round(
    smsc: LoopbackSmsc, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """After five wrong codes the right one is too late; the next offer sends another code."""
    phone = await handset(proved=False)
    await phone.offer()
    first = await phone.code()
    for _ in range(5):
        with pytest.raises(RequestRefused):
            await phone.confirm("AAAAAAAAAAAAAAAA")
    with pytest.raises(RequestRefused) as refused:
        await phone.confirm(first)
    assert refused.value.code == ErrorCode.CHALLENGE_EXPIRED
    assert state_of(await phone.offer()) == "pending"
    second = await phone.code()
    assert second != first
    assert state_of(await phone.confirm(second)) == "active"


@BOTH
async def test_a_challenge_that_got_lost_is_sent_again(
    server: AoiServer, smsc: LoopbackSmsc, wait_for: WaitFor
) -> None:
    """The SMSC took the challenge and it never arrived: a later one of the round does, and the
    AOI Client answers it as if nothing had happened.
    """
    smsc.script(Reply(receipts=(), lost=True))
    phone = await server.device("phone", apps=["org.mail"], ready=False)
    await smsc.submitted(1)
    await phone.ready("websocket")
    server.advance(AGAIN)
    await phone.ready("sms")
    first, second = (payload_of(message.user_data) for message in smsc.submissions)
    assert first == second


async def test_a_number_that_never_answers_is_given_up(
    server: AoiServer, smsc: LoopbackSmsc, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Three challenges, no code: the channel closes, a code that comes later is too late, and the
    next offer begins a new round.
    """
    phone = await handset(proved=False)
    await phone.offer()
    codes = [await phone.code()]
    for _ in range(2):
        server.advance(AGAIN)
        codes.append(await phone.code())
    assert len(set(codes)) == 1
    server.advance(AGAIN)
    await wait_for("channel.closed", client=phone.client, channel="sms")
    with pytest.raises(RequestRefused) as refused:
        await phone.confirm(codes[0])
    assert refused.value.code == ErrorCode.CHALLENGE_EXPIRED
    assert len(smsc.submissions) == 3
    await phone.offer()
    assert state_of(await phone.confirm(await phone.code())) == "active"


async def test_the_client_learns_at_its_next_welcome_that_it_was_given_up(
    server: AoiServer, smsc: LoopbackSmsc, wait_for: WaitFor
) -> None:
    """The server says which channels it closed and why, at the next contact."""
    smsc.default = Reply(receipts=(), lost=True)
    phone = await server.device("phone", apps=["org.mail"], ready=False)
    for count in range(1, 4):
        await smsc.submitted(count)
        server.advance(AGAIN)
    await wait_for("channel.closed", client=phone.client.client_id, channel="sms")
    await phone.ready("websocket")
    await phone.switch_off()
    await phone.switch_on()
    told = await wait_for(ChannelClosed, device="phone", type="sms")
    assert told.reason == CloseReason.NOT_PROVED


async def test_a_challenge_that_is_too_late_stays_here(
    server: AoiServer, smsc: LoopbackSmsc, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """The SMSC is away while a challenge waits and is sent again: when it is back the telephone
    gets one message, not both.
    """
    phone = await handset(proved=False)
    await smsc.bound(1)
    await smsc.go_down()
    await smsc.bound(0)
    await phone.offer()
    server.advance(AGAIN)
    await smsc.come_back()
    assert state_of(await phone.confirm(await phone.code())) == "active"
    assert len(smsc.submissions) == 1


async def test_a_refused_challenge_is_sent_again(
    server: AoiServer, smsc: LoopbackSmsc, handset: MakeHandset
) -> None:
    """Throttled or unanswered: nobody waits for the outcome, the proof's deadline sees to it."""
    smsc.script(Reply.throttle(), Reply.silence())
    phone = await handset(proved=False)
    await phone.offer()
    for count in (1, 2):
        await smsc.submitted(count)
        server.advance(AGAIN)
    assert state_of(await phone.confirm(await phone.code())) == "active"


async def test_a_proof_holds_when_the_channel_comes_back(
    smsc: LoopbackSmsc, handset: MakeHandset
) -> None:
    """A proof belongs to client and number: withdrawn and offered again, it costs no message."""
    phone = await handset()
    await phone.withdraw()
    assert state_of(await phone.offer()) == "active"
    assert len(smsc.submissions) == 1


@BOTH
async def test_a_recycled_number_belongs_to_whoever_proved_it_last(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """Client B proves the number of client A: A's channel closes, nothing of A's goes there any
    more, and A is told at its next welcome.
    """
    old = await server.device("old", apps=["org.mail"], number="+31600000001")
    token = old.token
    await old.switch_off()  # the radio too: from here on the number is somebody else's
    new = await handset("+31600000001")
    await wait_for("channel.closed", channel="sms")
    await shop.send(token, "for the old owner only", notification="n1")
    await wait_for("notification.stored", notification="n1")
    await shop.send(new.token, "for the new owner", notification="n2")
    payload = await new.read()
    assert isinstance(payload, ContentPush)
    assert payload.content.data == "for the new owner"
    assert new.unread == 0

    await old.switch_on()
    told = await wait_for(ChannelClosed, device="old", type="sms")
    assert told.reason == CloseReason.TAKEN_OVER
    assert (await old.read()).notification == "n1"
