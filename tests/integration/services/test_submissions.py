"""What is said of items that a channel could not take, and what is noted of those that it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    DeliverItem,
    OutcomeBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.errors import BrokerUnavailable, ProviderUnavailable
from aoi_events.ports.broker import Subscription
from aoi_events.ports.channel import ConnectionlessChannel, SubmitResult
from aoi_events.ports.store import Store
from aoi_events.services.channel.submissions import Known, Submissions, Work
from aoi_events.testing.scripted import ADDRESS, ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import OUTCOME, Queue, topology
from tests.support.device_frames import deliver
from tests.support.limits import WITHIN
from tests.support.rows import NOW, client_id, later


@dataclass
class Desk:
    """The submissions of one channel, with what they published."""

    store: Store
    server: MemoryServer
    clock: ManualClock
    channel: ConnectionlessChannel
    submissions: Submissions
    outcomes: Subscription

    async def published(self) -> OutcomeBatchV1:
        """The next batch of outcomes."""
        async with asyncio.timeout(WITHIN):
            (message,) = await self.outcomes.take(1)
        return OutcomeBatchV1.decode(message.body)


@pytest.fixture
async def desk(empty_store: Store) -> AsyncIterator[Desk]:
    """A channel on which nothing was submitted yet."""
    clock, server = ManualClock(NOW), MemoryServer()
    broker = MemoryBroker(server)
    await broker.declare(topology())
    channel = await ScriptedPlugin(ScriptedProvider(clock=clock)).connect(None)
    submissions = Submissions("scripted", channel, empty_store, broker, clock)
    outcomes = await broker.subscribe(Queue(OUTCOME), prefetch=9)
    yield Desk(empty_store, server, clock, channel, submissions, outcomes)
    await submissions.close()
    await channel.close()
    await broker.close()


async def all_wanted(
    items: Sequence[Work], now: datetime
) -> tuple[Sequence[Work], Sequence[Known]]:
    """The check of a worker whose items are all still wanted."""
    return items, ()


def item(number: int) -> DeliverItem:
    """A step over the scripted channel."""
    return deliver(number, now=NOW, channel="scripted", parameters={ADDRESS: "a1"})


def challenge() -> ChallengeItem:
    """A challenge over the scripted channel."""
    return ChallengeItem(
        client=client_id(1),
        channel="scripted",
        attempt=1,
        code="K3Y9AB",
        parameters={ADDRESS: "a1"},
        expires_at=later(60),
    )


async def test_what_a_channel_cannot_take_now_is_tried_again_after_ten_seconds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider cannot be reached: each step is unavailable, with a pause that keeps its retry
    from the next moment; of a challenge nothing is said, its deadline sends it again.
    """

    async def down(items: Sequence[Any]) -> Sequence[SubmitResult]:
        raise ProviderUnavailable("the test took it away")

    monkeypatch.setattr(desk.channel, "deliver", down)
    await desk.submissions.submit_all([item(1), challenge()], all_wanted)
    published = await desk.published()
    (outcome,) = published.items
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.UNAVAILABLE, 10.0)
    assert published.challenges == ()


async def test_what_a_channel_breaks_on_is_parked_without_a_pause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item fails for good, so there is no time after which it would be tried again."""

    async def broken(items: Sequence[Any]) -> Sequence[SubmitResult]:
        raise RuntimeError("a bug of the channel")

    monkeypatch.setattr(desk.channel, "deliver", broken)
    await desk.submissions.submit_all([item(1)], all_wanted)
    (outcome,) = (await desk.published()).items
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.PARKED, None)


async def test_items_without_room_pause_the_worker_while_nothing_can_be_reported(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results that cannot be reported keep their room, so the next item would wait for as long
    as the broker is away: the fault is raised instead, and later the item is submitted.
    """
    monkeypatch.setattr(desk.channel, "at_once", 1)
    desk.server.stop()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable):
            await desk.submissions.submit_all([item(1), item(2)], all_wanted)
        desk.server.start()
        await desk.clock.somebody_sleeps()
        desk.clock.advance(10)
        (first,) = (await desk.published()).items
        await desk.submissions.submit_all([item(2)], all_wanted)
        (second,) = (await desk.published()).items
    assert (first.delivery, second.delivery) == (item(1).delivery, item(2).delivery)


async def test_a_result_waits_for_no_other_of_its_lane(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of one lane, of which one gets no answer: the outcome of the other is published,
    and its room is free, so that the next step is submitted.
    """

    async def take(items: Sequence[Any]) -> Sequence[SubmitResult]:
        if items[0].delivery == item(1).delivery:
            await asyncio.Event().wait()
        return [SubmitResult(accepted(each)) for each in items]

    monkeypatch.setattr(desk.channel, "deliver", take)
    monkeypatch.setattr(desk.channel, "at_once", 2)
    for number in (2, 3):
        await desk.submissions.submit_all([item(1), item(number)][number - 2 :], all_wanted)
        (outcome,) = (await desk.published()).items
        assert outcome.delivery == item(number).delivery


async def test_messages_are_noted_by_their_names(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part that the provider named, counted among all parts, since the step was noted, with
    what receipts name of the address; a challenge's message, too, so that its receipt is known.
    """
    step, proof = item(1), challenge()
    taken: dict[str, SubmitResult] = {
        step.delivery: SubmitResult(accepted(step), ("m1", None, "m3"), address="0000001"),
        proof.id: SubmitResult(None, ("m4",)),
    }

    async def take(items: Sequence[Any]) -> Sequence[SubmitResult]:
        desk.clock.advance(5)
        return [taken[each.delivery if each.kind == "deliver" else each.id] for each in items]

    monkeypatch.setattr(desk.channel, "deliver", take)
    await desk.submissions.submit_all([step, proof], all_wanted)
    await desk.published()
    async with desk.store.transaction(read_only=True) as tx:
        known = await tx.provider_messages("scripted", ["m1", "m3", "m4"])
        assert "m4" not in known  # workers of 0.1.0 would take it for one of a delivery
        known = {**known, **await tx.provider_messages(of_challenges("scripted"), ["m4"])}
    assert {
        name: (each.delivery, each.part, each.parts, each.at, each.address)
        for name, each in known.items()
    } == {
        "m1": (step.delivery, 1, 3, NOW, "0000001"),
        "m3": (step.delivery, 3, 3, NOW, "0000001"),
        "m4": (proof.id, 1, 1, NOW, ""),
    }


def accepted(step: DeliverItem) -> OutcomeItem:
    """The provider takes responsibility."""
    return step.outcome(OutcomeKind.ACCEPTED, NOW)
