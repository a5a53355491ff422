"""Every connectionless channel: handing over, whatever the provider says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    DeliverItem,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.domain.channels import ChannelTraits
from aoi_events.ports.channel import ConnectionlessChannel, Sent
from tests.conformance.channel.stages import (
    LIMITED,
    SOON,
    Answer,
    Provider,
    challenge,
    delivery,
)

PASSING = (OutcomeKind.REFUSED, OutcomeKind.UNAVAILABLE)

Work = DeliverItem | ChallengeItem


def outcomes(sent: list[Sent]) -> list[OutcomeItem]:
    """What became of deliveries."""
    return [each.outcome for each in sent if isinstance(each.outcome, OutcomeItem)]


def at_the_limit(traits: ChannelTraits, over: int, type: str = "text/plain") -> Content:
    """Content that takes as much as the channel carries, and ``over`` octets."""
    assert traits.largest_content is not None
    bare = traits.measure(Content(data="", type=type))
    return Content(data="x" * (traits.largest_content + over - bare), type=type)


async def test_one_result_for_each_item_in_order(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Content, wake-ups and challenges go out together; each outcome names its step and attempt."""
    first = delivery(provider, 1, step=0, attempt=1)
    large = delivery(
        provider, 2, step=3, attempt=7, wake_up=True, content=Content(data="x" * 4_000)
    )
    last = delivery(provider, 3)
    before = datetime.now(UTC)
    sent = list(await channel.deliver([first, challenge(provider), large, last]))
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
    assert provider.arrived() == [
        ("content", first.delivery, "Gate B1"),
        ("challenge", "K7QM2XPD"),
        ("wake-up", large.delivery),
        ("content", last.delivery, "Gate B3"),
    ]


async def test_nothing_to_deliver_is_nothing(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """An empty batch is no special case."""
    assert list(await channel.deliver([])) == []
    assert provider.arrived() == []


async def test_refusals_are_results(provider: Provider, channel: ConnectionlessChannel) -> None:
    """Transient, permanent, or of the address: what the provider says is an outcome of the item
    that it concerns, with words for a person, and no exception.
    """
    provider.script(
        Answer.REFUSED, Answer.REJECTED, Answer.TAKEN, Answer.NO_SUCH_ADDRESS, Answer.SLOW_DOWN
    )
    sent = list(await channel.deliver([delivery(provider, n) for n in range(5)]))
    made = outcomes(sent)
    assert [(o.kind, o.closes_channel) for o in made] == [
        (OutcomeKind.REFUSED, False),
        (OutcomeKind.REJECTED, False),
        (OutcomeKind.ACCEPTED, False),
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.REFUSED, False),
    ]
    assert all(o.detail for o in made if o.kind is not OutcomeKind.ACCEPTED)
    assert [each.provider_messages != () for each in sent] == [
        o.kind == "accepted" and provider.names_messages for o in made
    ]
    slow_down = [False, False, False, False, True]
    assert [(o.retry_after or 0) > 0 for o in made] == slow_down
    # A provider of every device slows them all down; a host of some holds up nobody else.
    assert [each.throttled for each in sent] == (
        slow_down if provider.for_everybody else [False] * 5
    )


@pytest.mark.parametrize("answer", list(Answer))
async def test_a_challenge_that_was_not_taken_is_told(
    provider: Provider, channel: ConnectionlessChannel, answer: Answer
) -> None:
    """Nobody waits for the outcome of one that was; a refusal says what it says of a delivery, and
    names the round, not its code.
    """
    provider.script(answer, answer)
    [delivered] = outcomes(list(await channel.deliver([delivery(provider, 1)])))
    item = challenge(provider)
    [sent] = await channel.deliver([item])
    if delivered.kind is OutcomeKind.ACCEPTED:
        assert sent.outcome is None
        return
    assert isinstance(sent.outcome, ChallengeOutcome)
    assert (sent.outcome.challenge, sent.outcome.attempt) == (item.id, item.attempt)
    assert item.code not in sent.outcome.encode().decode()
    for name in ("kind", "client", "channel", "detail", "closes_channel", "retry_after"):
        assert getattr(sent.outcome, name) == getattr(delivered, name)


async def test_what_has_expired_does_not_go_out(
    provider: Provider, channel: ConnectionlessChannel
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
    assert [told[-1] for told in provider.arrived()] == ["Gate B2"]


@pytest.mark.parametrize("provider", LIMITED, indirect=True)
@pytest.mark.parametrize("type", ["text/plain", "text/vnd.example.thing"])
async def test_the_measure_says_exactly_what_goes_out(
    provider: Provider, channel: ConnectionlessChannel, type: str
) -> None:
    """What measures no more than the largest content goes out whole; an octet more is rejected and
    takes a wake-up; neither costs the others of the batch anything.
    """
    traits = provider.traits
    fits, too_large = at_the_limit(traits, 0, type), at_the_limit(traits, 1, type)
    assert traits.measure(too_large) == traits.measure(fits) + 1
    items = [
        delivery(provider, 1, content=too_large),
        delivery(provider, 2, content=fits),
        delivery(provider, 3, content=too_large, wake_up=True),
    ]
    sent = list(await channel.deliver(items))
    assert [(o.kind, o.closes_channel) for o in outcomes(sent)] == [
        (OutcomeKind.REJECTED, False),
        (OutcomeKind.ACCEPTED, False),
        (OutcomeKind.ACCEPTED, False),
    ]
    # What takes several messages may be complete after what came behind it.
    assert sorted(provider.arrived()) == [
        ("content", items[1].delivery, fits.data),
        ("wake-up", items[2].delivery),
    ]


async def test_the_largest_content_of_all_goes_out_or_takes_a_wake_up(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Whatever content there may be, a delivery is made of it, as the plan says."""
    traits = provider.traits
    content = Content(data="\x01" * MAX_CONTENT)
    limit = traits.largest_content
    wake_up = limit is not None and traits.measure(content) > limit
    [sent] = await channel.deliver([delivery(provider, 1, content=content, wake_up=wake_up)])
    assert [o.kind for o in outcomes([sent])] == [OutcomeKind.ACCEPTED]
    [told] = provider.arrived()
    assert told[-1] == (delivery(provider, 1).delivery if wake_up else content.data)


async def test_an_item_without_its_address_closes_the_channel(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Parameters that are no address (of an older version, say) can never be delivered to."""
    sent = list(await channel.deliver([delivery(provider, 1, parameters={}), delivery(provider)]))
    assert [(o.kind, o.closes_channel) for o in outcomes(sent)] == [
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.ACCEPTED, False),
    ]
    assert len(provider.arrived()) == 1


async def test_batches_do_not_wait_for_each_other(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Several deliver at once: each gets the results of its own items."""
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


async def test_a_provider_that_is_down_is_a_passing_trouble(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """Nobody answers: within the channel's own time-outs every item is refused for now, or not even
    attempted, and after the provider came back the next ones go out.
    """
    await provider.go_down()
    async with asyncio.timeout(SOON):
        items: list[Work] = [delivery(provider, 1), delivery(provider, 2), challenge(provider)]
        sent = list(await channel.deliver(items))
    assert all(o.kind in PASSING and not o.closes_channel for o in outcomes(sent))
    assert [each.provider_messages for each in sent] == [()] * 3
    await provider.come_back()
    again = await until(provider, channel, OutcomeKind.ACCEPTED)
    assert again.attempt == 3


async def test_a_provider_that_stays_down_is_not_asked(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """After some tries the answer is *unavailable*, at once and with the time of the next look; it
    is found again by itself when it is back.
    """
    await provider.go_down()
    outcome = await until(provider, channel, OutcomeKind.UNAVAILABLE)
    assert outcome.detail
    assert (outcome.retry_after or 0) > 0
    assert not outcome.closes_channel
    arrived = provider.arrived()
    await provider.come_back()
    await until(provider, channel, OutcomeKind.ACCEPTED)
    assert len(provider.arrived()) == len(arrived) + 1, "nothing that was kept back goes out later"


async def test_items_of_one_address_are_of_one_lane(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """What waits behind what is known before, for challenges, too; and some are taken at once."""
    assert channel.lane(delivery(provider, 1)) == channel.lane(challenge(provider))
    assert channel.lane(delivery(provider, parameters={})) is not None
    assert channel.at_once > 0


async def until(
    provider: Provider, channel: ConnectionlessChannel, kind: OutcomeKind
) -> OutcomeItem:
    """The first outcome of that kind of deliveries that are tried one after the other."""
    async with asyncio.timeout(SOON):
        while True:
            sent = await channel.deliver([delivery(provider, 1, attempt=3)])
            [outcome] = outcomes(list(sent))
            if outcome.kind is kind:
                return outcome
            assert outcome.kind in PASSING
            await asyncio.sleep(0)
