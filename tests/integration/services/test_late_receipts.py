"""Receipts that wait for their submission, while more come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.envelopes import OutcomeBatchV1, OutcomeKind
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Subscription
from aoi_events.ports.channel import Receipt, Spelled
from aoi_events.ports.store import Store
from aoi_events.services.channel.receipts import Receipts
from aoi_events.testing.scripted import ScriptedPlugin, ScriptedProvider
from aoi_events.testing.stopped_clock import ManualClock
from aoi_events.topology import OUTCOME, Queue, topology
from tests.integration.services.interrupted import Interrupted
from tests.support.limits import WITHIN
from tests.support.rows import NOW, a_delivery, a_provider_message, delivery_id, settled


async def test_a_fault_while_receipts_wait_is_raised(empty_store: Store) -> None:
    """It ends the receipts, and with them the worker, as a fault in a fresh receipt does."""
    failed = asyncio.Event()

    async def no_broker() -> None:
        failed.set()
        raise BrokerUnavailable("the test took it away")

    async def fault() -> None:
        raise RuntimeError("a fault of ours")

    async with empty_store.transaction() as tx:
        await tx.note_provider_messages([a_provider_message(1, provider="scripted", message="m1")])
    clock = ManualClock(NOW)
    provider = ScriptedProvider(clock=clock)
    channel = await ScriptedPlugin(provider).connect(None)
    broker = Interrupted(MemoryServer())
    broker.before = [no_broker, fault]
    running = asyncio.create_task(Receipts("scripted", channel, empty_store, broker, clock).run())
    provider.receipts.put_nowait(Receipt("m1", OutcomeKind.RECEIPTED))
    async with asyncio.timeout(WITHIN):
        await failed.wait()
        await clock.somebody_sleeps()
        clock.advance(0.5)
        with pytest.raises(ExceptionGroup) as raised:
            await running
    assert raised.group_contains(RuntimeError, match="a fault of ours")
    await channel.close()
    await broker.close()


async def test_an_exact_id_that_does_not_count_hides_no_other_spelling(
    empty_store: Store,
) -> None:
    """A text without its mark names one telephone's message exactly, and in decimal that of its own
    number: the latter is meant.
    """
    async with empty_store.transaction() as tx:
        await tx.note_provider_messages(
            [
                a_provider_message(1, provider="scripted", message="16", address="0000002"),
                a_provider_message(2, provider="scripted", message="10", address="0000001"),
                a_provider_message(3, provider="scripted", message="seen"),
            ]
        )
    async with receiving(empty_store) as (clock, provider, outcomes):
        provider.receipts.put_nowait(
            Receipt(
                "16",
                OutcomeKind.RECEIPTED,
                spellings=(Spelled("decimal", "10"),),
                addresses=("0000001",),
                sure=False,
            )
        )
        async with asyncio.timeout(WITHIN):
            provider.receipts.put_nowait(Receipt("seen", OutcomeKind.RECEIPTED))
            await outcomes.take(1)
            await clock.somebody_sleeps()
            clock.advance(0.5)
            (message,) = await outcomes.take(1)
    [item] = OutcomeBatchV1.decode(message.body).items
    assert item.delivery == delivery_id(2)


async def test_receipts_that_differ_in_their_number_wait_beside_each_other(
    empty_store: Store,
) -> None:
    """Two telephones' receipts may have one ID and one kind: neither takes the other's place."""

    def about(address: str) -> Receipt:
        spellings = (Spelled("decimal", "10"),)
        return Receipt("16", OutcomeKind.RECEIPTED, spellings=spellings, addresses=(address,))

    async with empty_store.transaction() as tx:
        await tx.note_provider_messages(
            [a_provider_message(3, provider="scripted", message="seen")]
        )
    async with receiving(empty_store) as (clock, provider, outcomes):
        for receipt in (about("0000001"), about("0000002"), Receipt("seen", OutcomeKind.RECEIPTED)):
            provider.receipts.put_nowait(receipt)
        async with asyncio.timeout(WITHIN):
            await outcomes.take(1)
            async with empty_store.transaction() as tx:
                await tx.note_provider_messages(
                    [
                        a_provider_message(1, provider="scripted", message="10", address="0000001"),
                        a_provider_message(
                            2, provider="scripted", message="0010", address="0000002"
                        ),
                    ]
                )
            await clock.somebody_sleeps()
            clock.advance(0.5)
            (message,) = await outcomes.take(1)
    items = OutcomeBatchV1.decode(message.body).items
    assert {item.delivery for item in items} == {delivery_id(1), delivery_id(2)}


async def test_a_short_id_is_that_of_the_message_that_is_noted_in_a_moment(
    empty_store: Store,
) -> None:
    """The base of an SMSC is set, and it uses the ID of a delivery again that has ended: the
    receipt overtakes the note of the new message, and waits for it.
    """
    noted = a_provider_message(1, provider="scripted", message="5", address="0000001")
    async with empty_store.transaction() as tx:
        await tx.add_deliveries([settled(a_delivery(1))])
        await tx.note_provider_messages(
            [noted, a_provider_message(3, provider="scripted", message="seen")]
        )
    about = Receipt(
        "5",
        OutcomeKind.REJECTED,
        spellings=(Spelled("same", "5"), Spelled("decimal", "5")),
        addresses=("0000001",),
        usual="decimal",
    )
    async with receiving(empty_store) as (clock, provider, outcomes):
        for receipt in (about, Receipt("seen", OutcomeKind.RECEIPTED)):
            provider.receipts.put_nowait(receipt)
        async with asyncio.timeout(WITHIN):
            (seen,) = await outcomes.take(1)
            async with empty_store.transaction() as tx:
                await tx.note_provider_messages(
                    [replace(noted, delivery=delivery_id(2), at=NOW + timedelta(seconds=1))]
                )
            await clock.somebody_sleeps()
            clock.advance(0.5)
            (message,) = await outcomes.take(1)
    items = [item for each in (seen, message) for item in OutcomeBatchV1.decode(each.body).items]
    assert [item.delivery for item in items] == [delivery_id(3), delivery_id(2)]


async def test_challenges_are_found_apart_from_deliveries(empty_store: Store) -> None:
    """A receipt of a challenge is no outcome, and where both have an ID the newest counts."""
    challenges: dict[str, Any] = {"provider": of_challenges("scripted"), "delivery": "chl_a"}
    later = NOW + timedelta(seconds=1)
    async with empty_store.transaction() as tx:
        await tx.note_provider_messages(
            [
                a_provider_message(1, provider="scripted", message="old"),
                a_provider_message(2, 2, message="old", at=later, **challenges),
                a_provider_message(3, 3, message="new", **challenges),
                a_provider_message(4, provider="scripted", message="new", at=later),
            ]
        )
    async with receiving(empty_store) as (_, provider, outcomes):
        for message in ("old", "new"):
            provider.receipts.put_nowait(Receipt(message, OutcomeKind.RECEIPTED))
        async with asyncio.timeout(WITHIN):
            (published,) = await outcomes.take(1)
    [item] = OutcomeBatchV1.decode(published.body).items
    assert item.delivery == delivery_id(4)


@asynccontextmanager
async def receiving(
    store: Store,
) -> AsyncIterator[tuple[ManualClock, ScriptedProvider, Subscription]]:
    """Receipts of a scripted provider, published to a broker in memory."""
    clock = ManualClock(NOW)
    provider = ScriptedProvider(clock=clock)
    channel = await ScriptedPlugin(provider).connect(None)
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    outcomes = await broker.subscribe(Queue(OUTCOME), prefetch=10)
    running = asyncio.create_task(Receipts("scripted", channel, store, broker, clock).run())
    try:
        yield clock, provider, outcomes
    finally:
        await channel.close()
        await running
        await broker.close()
