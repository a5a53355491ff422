"""The tests of a channel whose provider sends receipts."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.channel import ConnectionlessChannel, Receipt
from aoi_events.testing.conformance.provider import (
    SOON,
    OfProvider,
    Provider,
    ProviderAnswer,
    challenge,
    delivery,
)


async def hear(channel: ConnectionlessChannel, count: int) -> list[Receipt]:
    """The next receipts, however they are batched; fewer when the channel is closed."""
    heard: list[Receipt] = []
    async with asyncio.timeout(SOON):
        async for batch in channel.receipts():
            assert batch
            heard.extend(batch)
            if len(heard) >= count:
                break
    return heard


class ReceiptSuite(OfProvider):
    """The tests of a channel with receipts, beside ``ChannelSuite``."""

    @pytest.mark.asyncio
    async def test_names_of_messages_lead_receipts_back(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """A receipt names the message as its submission did, with a kind of outcome."""
        provider.script(ProviderAnswer.TAKEN, ProviderAnswer.RECEIPTED, ProviderAnswer.UNDELIVERED)
        sent = list(await channel.deliver([delivery(provider, n) for n in range(3)]))
        heard = await hear(channel, 2)
        assert {receipt.provider_message: receipt.kind for receipt in heard} == {
            sent[1].provider_messages[0]: OutcomeKind.RECEIPTED,
            sent[2].provider_messages[0]: OutcomeKind.REJECTED,
        }
        assert all(OutcomeKind(receipt.kind) for receipt in heard)
        assert not any(receipt.closes_channel for receipt in heard)

    @pytest.mark.asyncio
    async def test_receipts_of_challenges_are_told_like_others(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Receipts of challenges are like others: only the worker knows what a message was."""
        provider.script(ProviderAnswer.RECEIPTED)
        [sent] = await channel.deliver([challenge(provider)])
        [receipt] = await hear(channel, 1)
        assert (receipt.provider_message,) == sent.provider_messages

    @pytest.mark.asyncio
    async def test_receipts_wait_for_whoever_listens_next(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """A stream of receipts that is closed between two of them loses none."""
        provider.script(ProviderAnswer.RECEIPTED)
        [first] = await channel.deliver([delivery(provider, 1)])
        [receipt] = await hear(channel, 1)
        assert (receipt.provider_message,) == first.provider_messages
        listening = asyncio.create_task(hear(channel, 1))
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        provider.script(ProviderAnswer.RECEIPTED)
        [second] = await channel.deliver([delivery(provider, 2)])
        [receipt] = await hear(channel, 1)
        assert (receipt.provider_message,) == second.provider_messages
