"""The tests of every connectionless channel: deliveries, outcomes, faults and closing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.envelopes import ChallengeOutcome, OutcomeItem, OutcomeKind
from aoi_events.ports.channel import ConnectionlessChannel
from aoi_events.testing.conformance.provider import (
    SOON,
    OfProvider,
    Provider,
    ProviderAnswer,
    Work,
    challenge,
    delivery,
    healthy,
    outcomes,
)
from aoi_events.testing.conformance.receipts import hear

_MEANS: Final = {
    ProviderAnswer.REFUSED: (OutcomeKind.REFUSED, False),
    ProviderAnswer.REJECTED: (OutcomeKind.REJECTED, False),
    ProviderAnswer.TAKEN: (OutcomeKind.ACCEPTED, False),
    ProviderAnswer.NO_SUCH_ADDRESS: (OutcomeKind.REJECTED, True),
    ProviderAnswer.SLOW_DOWN: (OutcomeKind.REFUSED, False),
}
"""The kind of outcome, and whether it closes the channel."""
_PASSING: Final = (OutcomeKind.REFUSED, OutcomeKind.UNAVAILABLE)


class ChannelSuite(OfProvider):
    """The tests of every connectionless channel."""

    @pytest.mark.asyncio
    async def test_one_result_for_each_item_in_order(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Content, wake-ups and challenges go out together; each outcome names step and attempt."""
        first = delivery(provider, 1, step=0, attempt=1)
        large = delivery(
            provider, 2, step=3, attempt=7, wake_up=True, content=Content(data="x" * 4_000)
        )
        last = delivery(provider, 3)
        before = datetime.now(UTC)
        items: list[Work] = [first, challenge(provider), large, last]
        sent = list(await channel.deliver(items))
        assert [each.outcome is not None for each in sent] == [True, False, True, True]
        made = outcomes(sent)
        assert [(o.delivery, o.step, o.attempt) for o in made] == [
            (item.delivery, item.step, item.attempt) for item in (first, large, last)
        ]
        assert {(o.client, o.channel, o.kind) for o in made} == {
            (first.client, provider.plugin.type, OutcomeKind.ACCEPTED)
        }
        assert all(before <= o.at <= datetime.now(UTC) and not o.closes_channel for o in made)
        names = [name for each in sent for name in each.provider_messages]
        if provider.names_messages:
            assert None not in names
            assert len(set(names)) == len(sent)
        assert provider.arrived() == [provider.expects(item) for item in items]

    @pytest.mark.asyncio
    async def test_nothing_to_deliver_is_nothing(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """An empty batch has no results."""
        assert list(await channel.deliver([])) == []
        assert provider.arrived() == []

    @pytest.mark.asyncio
    async def test_refusals_are_results(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Transient, permanent, or of the address: what the provider says is an outcome of the item
        that it concerns, with words for a person, and no exception.
        """
        answers = [answer for answer in _MEANS if answer in provider.says]
        provider.script(*answers)
        sent = list(await channel.deliver([delivery(provider, n) for n, _ in enumerate(answers)]))
        made = outcomes(sent)
        assert [(o.kind, o.closes_channel) for o in made] == [_MEANS[each] for each in answers]
        assert all(o.detail for o in made if o.kind is not OutcomeKind.ACCEPTED)
        assert [each.provider_messages != () for each in sent] == [
            o.kind == "accepted" and provider.names_messages for o in made
        ]
        slow_down = [answer is ProviderAnswer.SLOW_DOWN for answer in answers]
        assert [(o.retry_after or 0) > 0 for o in made] == slow_down
        # A provider of every device slows them all down; a host of some holds up nobody else.
        assert [each.throttled for each in sent] == [
            slow and provider.for_everybody for slow in slow_down
        ]

    @pytest.mark.asyncio
    @pytest.mark.parametrize("answer", list(ProviderAnswer))
    async def test_a_challenge_that_was_not_taken_is_told(
        self, provider: Provider, channel: ConnectionlessChannel, answer: ProviderAnswer
    ) -> None:
        """A challenge that was refused has an outcome, which names the round and not its code; one
        that was taken has none. The provider took an address before: where it never took one, a
        channel may hold the operator responsible, and not the address.
        """
        provider.script(ProviderAnswer.TAKEN, answer, answer)
        await channel.deliver([delivery(provider, 2)])
        [delivered] = outcomes(list(await channel.deliver([delivery(provider, 1)])))
        item = challenge(provider)
        [sent] = await channel.deliver([item])
        if delivered.kind is OutcomeKind.ACCEPTED:
            assert sent.outcome is None
            return
        assert isinstance(sent.outcome, ChallengeOutcome)
        assert (sent.outcome.challenge, sent.outcome.attempt) == (item.id, item.attempt)
        assert item.code not in sent.outcome.encode().decode()
        for name in ("kind", "client", "channel", "detail", "closes_channel"):
            assert getattr(sent.outcome, name) == getattr(delivered, name)
        assert (sent.outcome.retry_after is None) == (delivered.retry_after is None)

    @pytest.mark.asyncio
    async def test_what_has_expired_does_not_go_out(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Expiry is checked at every hop, the last one included; the others of the batch go."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        items: list[Work] = [
            delivery(provider, 1, expires_at=past),
            challenge(provider, expires_at=past),
            delivery(provider, 2),
        ]
        sent = list(await channel.deliver(items))
        assert [o.kind for o in outcomes(sent)] == [OutcomeKind.REFUSED, OutcomeKind.ACCEPTED]
        assert sent[0].provider_messages == sent[1].provider_messages == ()
        assert provider.arrived() == [provider.expects(items[2])]

    @pytest.mark.asyncio
    async def test_the_largest_content_of_all_goes_out_or_takes_a_wake_up(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """The largest content that exists goes out, or takes a wake-up, as the plan says."""
        traits = provider.traits
        content = Content(data="\x01" * MAX_CONTENT)
        limit = traits.largest_content
        wake_up = limit is not None and traits.measure(content) > limit
        item = delivery(provider, 1, content=content, wake_up=wake_up)
        [sent] = await channel.deliver([item])
        assert [o.kind for o in outcomes([sent])] == [OutcomeKind.ACCEPTED]
        assert provider.arrived() == [provider.expects(item)]

    @pytest.mark.asyncio
    async def test_an_item_without_its_address_closes_the_channel(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Parameters without an address (of an older version, say) are rejected for good."""
        sent = list(
            await channel.deliver([delivery(provider, 1, parameters={}), delivery(provider)])
        )
        assert [(o.kind, o.closes_channel) for o in outcomes(sent)] == [
            (OutcomeKind.REJECTED, True),
            (OutcomeKind.ACCEPTED, False),
        ]
        assert len(provider.arrived()) == 1

    @pytest.mark.asyncio
    async def test_batches_do_not_wait_for_each_other(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Batches that are delivered at the same time get the results of their own items."""
        async with asyncio.timeout(SOON):
            results = await asyncio.gather(
                *(
                    channel.deliver([delivery(provider, n), delivery(provider, n + 50)])
                    for n in range(5)
                )
            )
        for number, sent in enumerate(results):
            wanted = [delivery(provider, n).delivery for n in (number, number + 50)]
            assert [o.delivery for o in outcomes(list(sent))] == wanted
        assert len(provider.arrived()) == 10

    @pytest.mark.asyncio
    async def test_a_provider_that_is_down_is_a_passing_trouble(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """When nothing answers, every item is refused for now, or not even attempted, within the
        channel's own time-outs; after the provider came back the next ones go out.
        """
        await provider.go_down()
        async with asyncio.timeout(SOON):
            items: list[Work] = [delivery(provider, 1), delivery(provider, 2), challenge(provider)]
            sent = list(await channel.deliver(items))
        assert all(o.kind in _PASSING and not o.closes_channel for o in outcomes(sent))
        assert [each.provider_messages for each in sent] == [()] * 3
        await provider.come_back()
        again = await _until(provider, channel, OutcomeKind.ACCEPTED)
        assert again.attempt == 3

    @pytest.mark.asyncio
    async def test_a_provider_that_stays_down_is_not_asked(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """After some tries the answer is *unavailable*, at once and with the time of the next look;
        it is found again by itself when it is back.
        """
        await provider.go_down()
        outcome = await _until(provider, channel, OutcomeKind.UNAVAILABLE)
        assert outcome.detail
        assert (outcome.retry_after or 0) > 0
        assert not outcome.closes_channel
        arrived = provider.arrived()
        await provider.come_back()
        await _until(provider, channel, OutcomeKind.ACCEPTED)
        assert len(provider.arrived()) == len(arrived) + 1, (
            "nothing that was kept back goes out later"
        )

    @pytest.mark.asyncio
    async def test_items_of_one_address_are_of_one_lane(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """The lane of an item, of a challenge too, is known before it is delivered."""
        assert channel.lane(delivery(provider, 1)) == channel.lane(challenge(provider))
        assert channel.lane(delivery(provider, parameters={})) is not None
        assert channel.at_once > 0

    @pytest.mark.asyncio
    async def test_health_follows_the_provider(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Healthy while the one provider takes messages; a host that is away is no reason to be
        ill, since other devices have other hosts.
        """
        assert await channel.healthy()
        await provider.go_down()
        await healthy(channel, is_so=not provider.for_everybody)
        await provider.come_back()
        await healthy(channel)

    @pytest.mark.asyncio
    async def test_its_provider_has_a_name(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """The provider has a name for store and metrics, the same in every copy of a worker."""
        assert not provider.traits.connection_oriented
        assert provider.plugin.configured(provider.settings)
        assert channel.provider
        other = await provider.connect()
        assert other.provider == channel.provider

    @pytest.mark.asyncio
    async def test_closing_ends_receipts_and_is_idempotent(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """The stream of receipts ends, and so does one that is opened afterwards."""
        listening = asyncio.create_task(hear(channel, 1))
        await asyncio.sleep(0)
        await channel.close()
        await channel.close()
        async with asyncio.timeout(SOON):
            assert await listening == []
            assert await hear(channel, 1) == []
        assert not await channel.healthy()

    @pytest.mark.asyncio
    async def test_a_closed_channel_takes_nothing(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Items that come after closing are refused for now, within bounds, and do not go out."""
        await channel.close()
        async with asyncio.timeout(SOON):
            [sent] = await channel.deliver([delivery(provider)])
        assert sent.outcome is not None
        assert sent.outcome.kind in (OutcomeKind.REFUSED, OutcomeKind.UNAVAILABLE)
        assert provider.arrived() == []

    @pytest.mark.asyncio
    async def test_a_channel_closes_while_its_provider_is_down(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Stopping does not wait for a provider that is away."""
        await provider.go_down()
        async with asyncio.timeout(SOON):
            await channel.close()
        await provider.come_back()

    @pytest.mark.asyncio
    async def test_closing_one_channel_leaves_the_others(
        self, provider: Provider, channel: ConnectionlessChannel
    ) -> None:
        """Workers scale by copies: each has a channel of its own."""
        other = await provider.connect()
        await healthy(other)
        await channel.close()
        [sent] = await other.deliver([delivery(provider)])
        assert sent.outcome is not None
        assert sent.outcome.kind is OutcomeKind.ACCEPTED


async def _until(
    provider: Provider, channel: ConnectionlessChannel, kind: OutcomeKind
) -> OutcomeItem:
    """Deliver one item after another until one has an outcome of that kind."""
    async with asyncio.timeout(SOON):
        while True:
            sent = await channel.deliver([delivery(provider, 1, attempt=3)])
            [outcome] = outcomes(list(sent))
            if outcome.kind is kind:
                return outcome
            assert outcome.kind in _PASSING
            await asyncio.sleep(0)
