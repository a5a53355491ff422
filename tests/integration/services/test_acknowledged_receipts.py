"""When a receipt is acknowledged to its provider: not before its outcome is published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryServer
from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeKind
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.errors import BrokerUnavailable, StoreUnavailable
from aoi_events.ports.broker import Subscription
from aoi_events.ports.channel import Receipt
from aoi_events.ports.store import Store
from aoi_events.services.channel import waiting
from aoi_events.services.channel.receipts import Receipts
from aoi_events.testing.scripted import ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import OUTCOME, Queue, topology
from tests.integration.services.interrupted import Interrupted
from tests.support.limits import WITHIN
from tests.support.rows import NOW, a_provider_message, delivery_id


class Worker:
    """A worker of receipts, and those that it acknowledged."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock(NOW)
        self.provider = ScriptedProvider(clock=self.clock)
        self.broker = Interrupted(MemoryServer())
        self.outcomes: Subscription
        self.acknowledged: list[str] = []

    async def send(
        self, *messages: str, times: int = 1, kind: OutcomeKind = OutcomeKind.REJECTED
    ) -> None:
        """Send receipts, and wait until the worker looks them up."""
        for message in [*messages] * times:
            self.provider.receipts.put_nowait(
                Receipt(
                    message,
                    kind,
                    acknowledge=partial(self.acknowledged.append, message),
                )
            )
        taken = asyncio.Event()  # one of no known kind is acknowledged when it is taken
        self.provider.receipts.put_nowait(Receipt("last", "none", acknowledge=taken.set))
        await taken.wait()

    async def pass_time(self, seconds: float = 0.5) -> None:
        """Let the time pass, and wait for the last look-up in it."""
        for _ in range(round(2 * seconds)):
            await self.clock.somebody_sleeps()
            self.clock.advance(0.5)
        await self.clock.somebody_sleeps()

    async def note(self, n: int, message: str, **changes: Any) -> None:
        """Note a submission."""
        named = a_provider_message(n, message=message, **{"provider": "scripted", **changes})
        async with self.store.transaction() as tx:
            await tx.note_provider_messages([named])

    async def published(self) -> set[str]:
        """The deliveries of the next message with outcomes."""
        (message,) = await self.outcomes.take(1)
        return {item.delivery for item in OutcomeBatchV1.decode(message.body).items}


@asynccontextmanager
async def working(store: Store) -> AsyncIterator[Worker]:
    """A worker while the block runs, which may take a moment."""
    worker = Worker(store)
    await worker.broker.declare(topology())
    worker.outcomes = await worker.broker.subscribe(Queue(OUTCOME), prefetch=10)
    channel = await ScriptedPlugin(worker.provider).connect(None)
    receipts = Receipts("scripted", channel, store, worker.broker, worker.clock)
    running = asyncio.create_task(receipts.run())
    try:
        async with asyncio.timeout(WITHIN):
            yield worker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await channel.close()
        await worker.broker.close()


async def test_a_receipt_is_acknowledged_when_its_outcome_is_published(empty_store: Store) -> None:
    """Not while the broker is away, and not while it publishes; repeats at the same time."""
    during: list[list[str]] = []

    async def away() -> None:
        raise BrokerUnavailable("the test took it away")

    async def publishes() -> None:
        during.append([*worker.acknowledged])

    async with working(empty_store) as worker:
        await worker.note(1, "m1")
        worker.broker.before = [away, away, publishes]
        await worker.send("m1", times=2)
        await worker.pass_time(0.5)
        assert worker.acknowledged == []
        await worker.pass_time(1)
        assert await worker.published() == {delivery_id(1)}
        assert during == [[]]
        assert worker.acknowledged == ["m1", "m1"]


async def test_receipts_are_not_acknowledged_while_the_store_is_away(
    empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long; a submission that is noted a moment after is still found."""

    def away(**options: Any) -> None:
        raise StoreUnavailable("the test took it away")

    async with working(empty_store) as worker:
        with monkeypatch.context() as patched:
            patched.setattr(empty_store, "transaction", away)
            await worker.send("m1")
            await worker.pass_time(120)
            assert worker.acknowledged == []
        await worker.pass_time(5)
        await worker.note(1, "m1")
        await worker.pass_time(5)
        assert await worker.published() == {delivery_id(1)}
        assert worker.acknowledged == ["m1"]


async def test_a_receipt_that_overtakes_its_submission_is_not_acknowledged_before_it(
    empty_store: Store,
) -> None:
    """A submission is noted well within the time that its receipt may stay unanswered."""
    async with working(empty_store) as worker:
        await worker.send("m1")
        await worker.pass_time(0.5)
        assert worker.acknowledged == []
        await worker.note(1, "m1")
        await worker.pass_time(1)
        assert await worker.published() == {delivery_id(1)}
        assert worker.acknowledged == ["m1"]


async def test_a_receipt_of_an_unknown_message_does_not_block_those_behind_it(
    empty_store: Store,
) -> None:
    """It is acknowledged after 1.5 s, and found if its submission is noted within a minute."""
    async with working(empty_store) as worker:
        await worker.send("m1", "stranger")
        await worker.pass_time(1)
        assert worker.acknowledged == []
        await worker.pass_time(0.5)
        assert worker.acknowledged == ["m1", "stranger"]
        await worker.pass_time(50)
        await worker.note(1, "m1")
        await worker.pass_time(10)
        assert await worker.published() == {delivery_id(1)}
        await worker.pass_time(60)
        assert worker.acknowledged == ["m1", "stranger"]


async def test_receipts_without_an_outcome_are_acknowledged_at_once(empty_store: Store) -> None:
    """That of a challenge, and that of a part, which is noted, whose push is not whole yet."""
    async with working(empty_store) as worker:
        await worker.note(1, "code", provider=of_challenges("scripted"), delivery="chl_a")
        await worker.note(2, "part", parts=2)
        await worker.send("code", "part", kind=OutcomeKind.RECEIPTED)
        await worker.pass_time()
        assert worker.acknowledged == ["code", "part"]
        await worker.note(3, "next")
        await worker.send("next")
        assert await worker.published() == {delivery_id(3)}


async def test_no_more_receipts_are_taken_than_may_be_unanswered(
    empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay in the channel, which bounds them, until the store is back; none is dropped."""
    monkeypatch.setattr(waiting, "AT_MOST", 1)

    def away(**options: Any) -> None:
        raise StoreUnavailable("the test took it away")

    async with working(empty_store) as worker:
        for number in (1, 2, 3):
            await worker.note(number, f"m{number}")
        with monkeypatch.context() as patched:
            patched.setattr(empty_store, "transaction", away)
            await worker.send("m1")
            sending = asyncio.create_task(worker.send("m2", "m3"))
            await worker.pass_time(5)
            assert worker.provider.receipts.qsize() == 2
        while not sending.done():
            worker.clock.advance(0.5)
            await asyncio.sleep(0)
        deliveries: set[str] = set()
        while len(deliveries) < 3:
            deliveries |= await worker.published()
        assert sorted(worker.acknowledged) == ["m1", "m2", "m3"]
