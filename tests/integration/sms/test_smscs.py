"""The channel against two SMSCs that are not ours: what each says is understood in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aoi_events.channels.sms import SmsSettings, plugin
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.oma_push.payload import ContentPush
from aoi_events.ports.channel import ConnectionlessChannel
from aoi_events.testing import Reply
from tests.integration.sms.deliveries import (
    NUMBER,
    delivery,
    kinds,
    names,
    next_receipts,
    until_taken,
)
from tests.integration.sms.smscs import SMSCS, NodeSmsc, Smsc
from tests.support.limits import WITHIN
from tests.support.pushes import payload_of, payloads_of

LONG = "The gate has changed. " * 20


@pytest.fixture(params=SMSCS)
async def smsc(request: pytest.FixtureRequest) -> AsyncIterator[Smsc]:
    """One SMSC, and then the other."""
    async with SMSCS[request.param]() as smsc:
        yield smsc


@asynccontextmanager
async def channel_to(smsc: Smsc, **settings: Any) -> AsyncIterator[ConnectionlessChannel]:
    """The SMS channel, bound to the SMSC while the block runs."""
    quick = {"throttle_pause": 0.02, "connect_time": 5.0, "reconnect_first": 0.02}
    given = SmsSettings(host=smsc.host, port=smsc.port, **{**quick, **settings})
    channel = await plugin.connect(given)
    assert channel is not None
    try:
        yield channel
    finally:
        await channel.close()


@pytest.fixture
async def channel(smsc: Smsc) -> AsyncIterator[ConnectionlessChannel]:
    """The SMS channel, bound to the SMSC."""
    async with channel_to(smsc) as channel:
        await smsc.bound(1)
        yield channel


async def test_a_push_arrives_as_it_was_sent(smsc: Smsc, channel: ConnectionlessChannel) -> None:
    """Number, sender and every octet; what the SMSC calls it is known."""
    [sent] = await channel.deliver([delivery()])
    [received] = smsc.submissions
    assert (received.number, received.sender) == (NUMBER, "AOI")
    assert sent.provider_messages == names(smsc, received)
    payload = payload_of(received.user_data)
    assert isinstance(payload, ContentPush)
    assert payload.content.data == "Gate B12"


async def test_a_push_of_several_messages_arrives_in_order(
    smsc: Smsc, channel: ConnectionlessChannel
) -> None:
    """Four messages that an SMSC which reads user data headers takes apart as we do."""
    [sent] = await channel.deliver([delivery(text=LONG)])
    assert kinds([sent]) == [OutcomeKind.ACCEPTED]
    assert sent.provider_messages == names(smsc, *smsc.submissions)
    assert [each.user_data[:7].hex() for each in smsc.submissions] == ["0c05040b8423f0"] * 4
    assert [each.user_data[11:13].hex() for each in smsc.submissions] == [
        f"04{number:02x}" for number in (1, 2, 3, 4)
    ]
    payload = payload_of(*(each.user_data for each in smsc.submissions))
    assert isinstance(payload, ContentPush)
    assert payload.content.data == LONG


async def test_each_status_means_what_it_means(smsc: Smsc, channel: ConnectionlessChannel) -> None:
    """Throttled or full: later; no such number: never, and the channel ends; others as they are."""
    replies = {
        Reply(): (OutcomeKind.ACCEPTED, False),
        Reply.throttle(): (OutcomeKind.REFUSED, False),
        Reply.queue_full(): (OutcomeKind.REFUSED, False),
        Reply.bad_number(): (OutcomeKind.REJECTED, True),
        Reply(status=0x45): (OutcomeKind.REFUSED, False),
        Reply(status=0x66): (OutcomeKind.REJECTED, False),
    }
    for reply, expected in replies.items():
        await smsc.script(reply)
        [sent] = await channel.deliver([delivery()])
        assert isinstance(sent.outcome, OutcomeItem)
        assert (sent.outcome.kind, sent.outcome.closes_channel) == expected


async def test_throttling_slows_down_and_loses_nothing(
    smsc: Smsc, channel: ConnectionlessChannel
) -> None:
    """Parts that were throttled amid large pushes go out again, the others do not; every push of a
    batch ends as accepted or refused, and what was accepted is whole.
    """
    slow = [Reply(), Reply.throttle(), Reply(), Reply.queue_full()]
    await smsc.script(*slow * 5)
    items = [delivery(number, f"{number} {LONG}"[:400]) for number in range(8)]
    sent = await channel.deliver(items)
    assert set(kinds(sent)) <= {OutcomeKind.ACCEPTED, OutcomeKind.REFUSED}
    refused = [item for item, what in zip(items, kinds(sent), strict=True) if what == "refused"]
    for item in refused:
        again = await until_taken(channel, item.model_copy(update={"attempt": 2}))
        assert len(again.provider_messages) == 4
    named = {name for each in sent for name in each.provider_messages}
    assert len(named) == 4 * (len(items) - len(refused))


@pytest.mark.parametrize("form", ["parameters", "text"])
async def test_receipts_in_either_form(
    smsc: Smsc, channel: ConnectionlessChannel, form: Any
) -> None:
    """Each state that is final has its outcome, under the name of its message."""
    states = [
        MessageState.ENROUTE,
        MessageState.DELIVERED,
        MessageState.EXPIRED,
        MessageState.UNDELIVERABLE,
    ]
    await smsc.script(*(Reply(receipts=(state,), form=form) for state in states))
    sent = [(await channel.deliver([delivery(number)]))[0] for number in range(4)]
    heard = await next_receipts(channel, 3)
    assert {receipt.provider_message: receipt.kind for receipt in heard} == {
        sent[1].provider_messages[0]: OutcomeKind.RECEIPTED,
        sent[2].provider_messages[0]: OutcomeKind.REFUSED,
        sent[3].provider_messages[0]: OutcomeKind.REJECTED,
    }


async def test_receipts_that_overtake_come_twice_or_are_about_nothing(
    smsc: Smsc, channel: ConnectionlessChannel
) -> None:
    """All are heard as they come; what they are worth is decided by whoever knows the messages."""
    listening = asyncio.create_task(next_receipts(channel, 4))
    await smsc.say("id:ffff stat:DELIVRD err:000")
    await smsc.say("stat:DELIVRD err:000")
    await smsc.say("nothing of the kind")
    both = (MessageState.DELIVERED, MessageState.DELIVERED)
    await smsc.script(Reply(receipts=both, receipt_first=True), Reply(receipts=both[:1]))
    [sent] = await channel.deliver([delivery()])
    [last] = await channel.deliver([delivery(2)])
    stray, *heard = [receipt.provider_message for receipt in await listening]
    assert stray.endswith(" ffff")
    assert heard == [*sent.provider_messages * 2, *last.provider_messages]


async def test_a_submission_that_is_never_answered_is_bounded(smsc: Smsc) -> None:
    """An SMSC that accepts and never answers: refused after its time, the others go on."""
    async with channel_to(smsc, response_time=3) as channel:
        await smsc.bound(1)
        await smsc.script(Reply.silence())
        async with asyncio.timeout(WITHIN):
            sent = await channel.deliver([delivery(1), delivery(2), delivery(3, LONG)])
        assert sorted(kinds(sent)) == ["accepted", "accepted", "refused"]
        assert len(smsc.submissions) in (3, 6)  # a large push ends with the part that is stuck


async def test_an_idle_line_is_asked_whether_it_lives() -> None:
    """An SMSC that hears nothing else is sent *enquire_link*, so that it keeps the session, and a
    line that was cut without a word is noticed.
    """
    async with NodeSmsc.running() as smsc, channel_to(smsc, enquire_link=0.1):
        assert isinstance(smsc, NodeSmsc)
        await smsc.bound(1)
        await smsc.enquired()


async def test_a_cut_line_is_made_anew(smsc: Smsc, channel: ConnectionlessChannel) -> None:
    """What was under way is refused, for nobody knows; the next goes out over the new session."""
    await smsc.script(Reply.silence())
    under_way = asyncio.create_task(channel.deliver([delivery(1)]))
    await smsc.submitted(1)
    await smsc.cut()
    async with asyncio.timeout(WITHIN):
        assert kinds(await under_way) == [OutcomeKind.REFUSED]
    await until_taken(channel, delivery(2))


async def test_a_large_push_that_is_cut_in_the_middle_is_sent_again_whole(
    smsc: Smsc, channel: ConnectionlessChannel
) -> None:
    """One part out, and the line is gone: the attempt is refused, and the next one sends all parts
    under another reference, so that the telephone puts it together once.
    """
    await smsc.script(Reply(), Reply.silence())
    under_way = asyncio.create_task(channel.deliver([delivery(1, LONG)]))
    await smsc.submitted(2)
    await smsc.cut()
    async with asyncio.timeout(WITHIN):
        assert kinds(await under_way) == [OutcomeKind.REFUSED]
    await until_taken(channel, delivery(1, LONG, attempt=2))
    heard = payloads_of((each.number, each.user_data) for each in smsc.submissions)
    assert [push.content.data for push in heard if isinstance(push, ContentPush)] == [LONG]


async def test_an_smsc_that_goes_away_is_found_again(
    smsc: Smsc, channel: ConnectionlessChannel
) -> None:
    """Nobody listens for a while: nothing is taken; it comes back, and what is tried then goes."""
    await smsc.go_down()
    await smsc.bound(0)
    await smsc.come_back()
    await until_taken(channel, delivery())
    assert len(smsc.submissions) == 1


async def test_a_wrong_password_is_no_session_until_it_is_right() -> None:
    """The SMSC refuses the bind; nothing is sent, and the channel keeps trying."""
    async with NodeSmsc.running() as smsc:
        assert isinstance(smsc, NodeSmsc)
        await smsc.expect_password("secret")
        settings = {"password": "wrong", "connect_time": 2.0, "turn_time": 0.3}
        async with channel_to(smsc, **settings) as channel:
            sent = await channel.deliver([delivery()])
            assert OutcomeKind.ACCEPTED not in kinds(sent)
            assert not await channel.healthy()
            await smsc.expect_password("wrong")
            await until_taken(channel, delivery())
