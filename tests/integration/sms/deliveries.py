"""Deliveries for tests of the channel by itself, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem, OutcomeKind
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.ports.channel import ConnectionlessChannel, Receipt, SubmitResult
from aoi_events.testing.smsc import ShortMessageReceived
from tests.integration.sms.smscs import Smsc
from tests.support.limits import WITHIN

NUMBER = "+31600000001"
_FINGERPRINT = base32_id("fp_", bytes(range(8)))


def delivery(
    number: int = 1, text: str = "Gate B12", *, attempt: int = 1, to: str = NUMBER
) -> DeliverItem:
    """An attempt to deliver a text."""
    return DeliverItem(
        delivery=base32_id("dlv_", number.to_bytes(16, "big")),
        notification=f"n{number}",
        client=base32_id("cli_", bytes(16)),
        token="k1.token",
        fingerprint=_FINGERPRINT,
        application="org.mail",
        instance="default",
        channel="sms",
        step=0,
        attempt=attempt,
        urgency=Urgency.HIGH,
        accepted_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        content=Content(data=text),
        parameters={"msisdn": to},
    )


def kinds(sent: Sequence[SubmitResult]) -> list[OutcomeKind]:
    """What became of each."""
    outcomes = [each.outcome for each in sent]
    return [outcome.kind for outcome in outcomes if isinstance(outcome, OutcomeItem)]


def names(smsc: Smsc, *messages: ShortMessageReceived) -> tuple[str, ...]:
    """What messages are called among those of all SMSCs."""
    return tuple(f"aoi@{smsc.host}:{smsc.port} {message.message_id}" for message in messages)


async def next_receipts(channel: ConnectionlessChannel, number: int) -> list[Receipt]:
    """The next receipts, however they are batched; each is acknowledged."""
    heard: list[Receipt] = []
    async with asyncio.timeout(WITHIN):
        async for batch in channel.receipts():
            heard += batch
            for receipt in batch:
                receipt.acknowledge()
            if len(heard) >= number:
                break
    return heard


async def until_taken(channel: ConnectionlessChannel, item: DeliverItem) -> SubmitResult:
    """The result of an item that is tried again until the SMSC takes it."""
    async with asyncio.timeout(WITHIN):
        while True:
            [sent] = await channel.deliver([item])
            if kinds([sent]) == [OutcomeKind.ACCEPTED]:
                return sent
            await asyncio.sleep(0)
