"""Every connectionless channel: receipts, health, and the end."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.channel import ConnectionlessChannel, Receipt
from tests.conformance.channel.stages import (
    OF_ONE_PROVIDER,
    OF_THEIR_HOSTS,
    SOON,
    Answer,
    Provider,
    challenge,
    delivery,
    healthy,
)

one_provider = pytest.mark.parametrize("provider", OF_ONE_PROVIDER, indirect=True)
their_hosts = pytest.mark.parametrize("provider", OF_THEIR_HOSTS, indirect=True)


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


@one_provider
async def test_names_of_messages_lead_receipts_back(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """A receipt names the message as its submission did, and says what an outcome can say."""
    provider.script(Answer.TAKEN, Answer.RECEIPTED, Answer.UNDELIVERED)
    sent = list(await channel.deliver([delivery(provider, n) for n in range(3)]))
    heard = await hear(channel, 2)
    assert {receipt.provider_message: receipt.kind for receipt in heard} == {
        sent[1].provider_messages[0]: OutcomeKind.RECEIPTED,
        sent[2].provider_messages[0]: OutcomeKind.REJECTED,
    }
    assert all(OutcomeKind(receipt.kind) for receipt in heard)
    assert not any(receipt.closes_channel for receipt in heard)


@one_provider
async def test_receipts_of_challenges_are_told_like_others(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """The channel does not know what is behind a message; the worker does."""
    provider.script(Answer.RECEIPTED)
    [sent] = await channel.deliver([challenge(provider)])
    [receipt] = await hear(channel, 1)
    assert (receipt.provider_message,) == sent.provider_messages


@one_provider
async def test_receipts_wait_for_whoever_listens_next(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """A listener that ends between two receipts loses none of them."""
    provider.script(Answer.RECEIPTED)
    [first] = await channel.deliver([delivery(provider, 1)])
    [receipt] = await hear(channel, 1)
    assert (receipt.provider_message,) == first.provider_messages
    listening = asyncio.create_task(hear(channel, 1))
    await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    provider.script(Answer.RECEIPTED)
    [second] = await channel.deliver([delivery(provider, 2)])
    [receipt] = await hear(channel, 1)
    assert (receipt.provider_message,) == second.provider_messages


@one_provider
async def test_health_follows_the_provider(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Healthy while the provider takes messages."""
    assert await channel.healthy()
    await provider.go_down()
    await healthy(channel, is_so=False)
    await provider.come_back()
    await healthy(channel)


@their_hosts
async def test_a_host_that_is_away_is_no_reason_to_be_ill(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Other devices have other hosts: the channel stays healthy."""
    await provider.go_down()
    assert await channel.healthy()


async def test_closing_ends_receipts_and_is_idempotent(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Whoever listens comes to an end, and so does whoever listens afterwards."""
    listening = asyncio.create_task(hear(channel, 1))
    await asyncio.sleep(0)
    await channel.close()
    await channel.close()
    async with asyncio.timeout(SOON):
        assert await listening == []
        assert await hear(channel, 1) == []
    assert not await channel.healthy()


async def test_a_closed_channel_takes_nothing(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """What is handed over too late is refused for now, within bounds, and does not go out."""
    await channel.close()
    async with asyncio.timeout(SOON):
        [sent] = await channel.deliver([delivery(provider)])
    assert sent.outcome is not None
    assert sent.outcome.kind in (OutcomeKind.REFUSED, OutcomeKind.UNAVAILABLE)
    assert provider.arrived() == []


async def test_a_channel_closes_while_its_provider_is_down(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Stopping does not wait for a provider that is away."""
    await provider.go_down()
    async with asyncio.timeout(SOON):
        await channel.close()
    await provider.come_back()


async def test_closing_one_channel_leaves_the_others(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Workers scale by copies: each has a channel of its own."""
    other = await provider.connect()
    await healthy(other)
    await channel.close()
    [sent] = await other.deliver([delivery(provider)])
    assert sent.outcome is not None
    assert sent.outcome.kind is OutcomeKind.ACCEPTED
