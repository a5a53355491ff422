"""The SMS channel as its port describes it, through a real SMSC on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aoi_events.channels.sms import SmsSettings, plugin
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    DeliverItem,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush
from aoi_events.ports.channel import ConnectionlessChannel, Receipt
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from tests.support.limits import WITHIN
from tests.support.pushes import payload_of

NUMBER = "+31600000001"
FINGERPRINT = base32_id("fp_", bytes(8))


def delivery(number: int = 1, *, ttl: float = 3600.0, **changes: Any) -> DeliverItem:
    """One step of delivery ``number``, to a telephone; ``ttl`` seconds are left to it."""
    now = datetime.now(UTC)
    return DeliverItem(
        delivery=base32_id("dlv_", number.to_bytes(16, "big")),
        notification="gate-change",
        client=base32_id("cli_", bytes(16)),
        channel="sms",
        step=1,
        token="token-of-an-app",
        fingerprint=FINGERPRINT,
        application="travel",
        instance="default",
        urgency=Urgency.NORMAL,
        accepted_at=now,
        **{
            "attempt": 2,
            "content": Content(data="Gate B12"),
            "expires_at": now + timedelta(seconds=ttl),
            "parameters": {"msisdn": NUMBER},
            **changes,
        },
    )


def challenge(**changes: Any) -> ChallengeItem:
    """A challenge to a telephone."""
    return ChallengeItem(
        client=base32_id("cli_", bytes(16)),
        channel="sms",
        code="K7QM2XPD",
        # Of this moment: a long test run begins more than ten minutes before its end.
        expires_at=datetime.now(UTC) + timedelta(minutes=10),
        **{"attempt": 1, "parameters": {"msisdn": NUMBER}, **changes},
    )


@pytest.fixture
async def smsc() -> AsyncIterator[LoopbackSmsc]:
    """An SMSC on loopback."""
    async with LoopbackSmsc() as smsc:
        yield smsc


@pytest.fixture
async def channel(smsc: LoopbackSmsc) -> AsyncIterator[ConnectionlessChannel]:
    """The channel, connected to that SMSC."""
    channel = await plugin.connect(
        SmsSettings(host=smsc.host, port=smsc.port, window=1, throttle_pause=0.05, turn_time=5.0)
    )
    assert channel is not None
    yield channel
    await channel.close()


async def next_receipts(channel: ConnectionlessChannel, count: int) -> list[Receipt]:
    """The next receipts, however they are batched."""
    received: list[Receipt] = []
    async with asyncio.timeout(WITHIN):
        async for batch in channel.receipts():
            received.extend(batch)
            if len(received) >= count:
                break
    return received


async def test_content_reaches_the_telephone_whole(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel
) -> None:
    """A device takes delivery, fingerprint and content out of the message as they went in."""
    item = delivery()
    [sent] = await channel.deliver([item])
    received = await smsc.receive(NUMBER)
    assert payload_of(received.user_data) == ContentPush(item.delivery, FINGERPRINT, item.content)
    assert sent.provider_messages == (f"aoi@{smsc.host}:{smsc.port} {received.message_id}",)
    assert isinstance(sent.outcome, OutcomeItem)
    assert sent.outcome.kind is OutcomeKind.ACCEPTED
    assert (sent.outcome.delivery, sent.outcome.step, sent.outcome.attempt) == (item.delivery, 1, 2)


async def test_a_wake_up_carries_no_content(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel
) -> None:
    """Content that is too large stays here; the message names the delivery to fetch."""
    item = delivery(wake_up=True, content=Content(data="x" * 4_000))
    await channel.deliver([item])
    received = await smsc.receive(NUMBER)
    assert payload_of(received.user_data) == WakeUpPush(item.delivery, FINGERPRINT)


async def test_a_challenge_goes_out_or_is_refused(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel
) -> None:
    """The code reaches the telephone; the outcome for a bad number ends the round."""
    smsc.script(Reply(), Reply.bad_number())
    sent = await channel.deliver([challenge(), challenge()])
    received = await smsc.receive(NUMBER)
    assert payload_of(received.user_data) == ChallengePush("K7QM2XPD")
    taken, refused = (each.outcome for each in sent)
    assert taken is None
    assert isinstance(refused, ChallengeOutcome)
    assert (refused.kind, refused.closes_channel) == (OutcomeKind.REJECTED, True)


async def test_a_later_part_that_our_settings_spoil_is_not_sent_again_at_once(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel
) -> None:
    """Each attempt pays the parts before it again, so the next one waits as long as for any other
    refusal that blames our settings.
    """
    smsc.script(Reply(), Reply(status=0x43))
    [sent] = await channel.deliver([delivery(content=Content(data="x" * 150))])
    assert isinstance(sent.outcome, OutcomeItem)
    assert (sent.outcome.kind, sent.outcome.retry_after) == (OutcomeKind.REFUSED, 60)
    assert len(smsc.submissions) == 2


async def test_outcomes_stand_in_the_order_of_the_items(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel
) -> None:
    """Every answer of an SMSC becomes the outcome that decisions know, in the order of items."""
    smsc.script(Reply(), Reply.throttle(), Reply.queue_full(), Reply.bad_number(), Reply(0x66))
    items = [delivery(number) for number in range(1, 6)]
    sent = await channel.deliver(items)
    outcomes = [each.outcome for each in sent if isinstance(each.outcome, OutcomeItem)]
    assert [outcome.delivery for outcome in outcomes] == [item.delivery for item in items]
    assert [(outcome.kind, outcome.closes_channel) for outcome in outcomes] == [
        (OutcomeKind.ACCEPTED, False),
        (OutcomeKind.REFUSED, False),
        (OutcomeKind.REFUSED, False),
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.REJECTED, False),
    ]
    assert [each.throttled for each in sent] == [False, True, True, False, False]
    assert outcomes[1].retry_after == 0.05


async def test_a_refusal_of_our_settings_is_held_and_warned_of(
    smsc: LoopbackSmsc, channel: ConnectionlessChannel, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator is warned once a minute; items are tried again later, and no channel closes."""
    smsc.script(*(Reply(status=status) for status in (0x0A, 0x0A, 0x62, 0x50)), Reply())
    sent = await channel.deliver([delivery(number) for number in range(5)])
    outcomes = [each.outcome for each in sent if isinstance(each.outcome, OutcomeItem)]
    assert [(each.kind, each.closes_channel, each.retry_after) for each in outcomes] == [
        *[(OutcomeKind.UNAVAILABLE, False, 60.0)] * 4,
        (OutcomeKind.ACCEPTED, False, None),
    ]
    warned = [vars(record)["why"] for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "SMSC status 0x0A RINVSRCADR (check source)",
        "SMSC status 0x62 RINVEXPIRY (check validity)",
        "SMSC status 0x50 RINVDSTTON (check destination_ton)",
    ]


@pytest.mark.parametrize(
    "changes, kind, closes",
    [
        ({"ttl": -1}, OutcomeKind.REFUSED, False),
        ({"parameters": {}}, OutcomeKind.REJECTED, True),
        ({"parameters": {"msisdn": "0612345678"}}, OutcomeKind.REJECTED, True),
        ({"content": Content(data="x" * 471)}, OutcomeKind.REJECTED, False),
        ({"content": Content(data="x" * 465, type="text/html")}, OutcomeKind.REJECTED, False),
    ],
)
async def test_what_cannot_go_out_is_told_without_asking_the_smsc(
    smsc: LoopbackSmsc,
    channel: ConnectionlessChannel,
    changes: dict[str, Any],
    kind: OutcomeKind,
    closes: bool,
) -> None:
    """Expired, without a number or too large: an outcome at once, and the others still go."""
    sent = await channel.deliver([delivery(1, **changes), delivery(2)])
    assert sent[0].outcome is not None
    assert (sent[0].outcome.kind, sent[0].outcome.closes_channel) == (kind, closes)
    assert sent[1].outcome is not None
    assert sent[1].outcome.kind is OutcomeKind.ACCEPTED
    assert len(smsc.submissions) == 1


async def test_an_attempt_that_nobody_answered_is_refused_and_says_so(smsc: LoopbackSmsc) -> None:
    """Whether it went out is unknown, so it is to be tried again."""
    smsc.default = Reply.silence()
    channel = await plugin.connect(
        SmsSettings(host=smsc.host, port=smsc.port, response_time=0.1, turn_time=5.0)
    )
    assert channel is not None
    [sent] = await channel.deliver([delivery()])
    await channel.close()
    assert sent.outcome is not None
    assert sent.outcome.kind is OutcomeKind.REFUSED
    assert (sent.outcome.detail or "").startswith("unanswered")


async def test_receipts_become_outcomes(smsc: LoopbackSmsc, channel: ConnectionlessChannel) -> None:
    """Each final state has its outcome; states on the way are passed over."""
    states = [
        MessageState.ENROUTE,
        MessageState.DELIVERED,
        MessageState.EXPIRED,
        MessageState.UNDELIVERABLE,
    ]
    smsc.script(*(Reply(receipts=(state,)) for state in states))
    sent = await channel.deliver([delivery(number) for number in range(4)])
    receipts = await next_receipts(channel, 3)
    assert {receipt.provider_message: receipt.kind for receipt in receipts} == {
        sent[1].provider_messages[0]: "receipted",
        sent[2].provider_messages[0]: "refused",
        sent[3].provider_messages[0]: "rejected",
    }
    assert not any(receipt.closes_channel for receipt in receipts)


async def test_health_follows_the_smsc(smsc: LoopbackSmsc, channel: ConnectionlessChannel) -> None:
    """Healthy once bound; not while the SMSC is away; healthy again when it is back."""
    await _healthy(channel)
    await smsc.go_down()
    await smsc.bound(0)
    await _healthy(channel, is_so=False)
    await smsc.come_back()
    await _healthy(channel)


async def _healthy(channel: ConnectionlessChannel, *, is_so: bool = True) -> None:
    async with asyncio.timeout(WITHIN):
        while await channel.healthy() is not is_so:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


async def test_closing_twice_ends_receipts_once(channel: ConnectionlessChannel) -> None:
    """Close is idempotent, and ends every reader of receipts."""
    listening = asyncio.create_task(next_receipts(channel, 1))
    await channel.close()
    await channel.close()
    assert await asyncio.wait_for(listening, WITHIN) == []
    assert not await channel.healthy()


def test_an_offer_is_normalised_to_the_address_that_must_be_proved() -> None:
    """However a device writes its number, the same telephone is one address."""
    offered = plugin.offer({"msisdn": "+31 6 0000 0001"}, SmsSettings())
    assert offered.parameters == {"msisdn": NUMBER}
    assert offered.address == NUMBER
    assert plugin.traits(SmsSettings()).needs_proof


@pytest.mark.parametrize(
    "parameters, field",
    [
        ({}, "parameters.msisdn"),
        ({"msisdn": 31600000001}, "parameters.msisdn"),
        ({"msisdn": "0600000001"}, "parameters.msisdn"),
        ({"msisdn": NUMBER, "port": 1}, "parameters.port"),
    ],
)
def test_a_wrong_offer_says_what_to_send(
    parameters: dict[str, str | int | bool], field: str
) -> None:
    """An offer that is no number is refused with the field, and without repeating the number."""
    with pytest.raises(Refusal) as refused:
        plugin.offer(parameters, SmsSettings())
    assert refused.value.code is ErrorCode.INVALID
    assert refused.value.field == field
    assert "0600000001" not in str(refused.value)


async def test_without_an_smsc_there_is_no_channel() -> None:
    """Without settings the channel is not configured, and connecting fails with what to set."""
    assert not plugin.configured(SmsSettings())
    assert plugin.configured(SmsSettings(host="smsc.example"))
    with pytest.raises(ConfigurationError, match=r"channels\.sms\.host"):
        await plugin.connect(SmsSettings())
