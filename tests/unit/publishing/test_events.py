from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.events import DeliveryChanged
from aoi_events.contracts.states import DeliveryState
from aoi_events.publishing import Publisher
from tests.unit.publishing.responder import Responder, TellingBroker

DELIVERED, FAILED, STORED = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.STORED


async def test_events_come_in_order_from_entering_on(
    publisher: Publisher, responder: Responder
) -> None:
    """Everything that happens after the stream was entered is seen, in order."""
    async with publisher.events() as events:
        await responder.become("n1", STORED)
        await responder.become("n1", DELIVERED)
        first, second = await anext(events), await anext(events)
    assert [first.kind, second.kind] == ["notification.stored", "notification.delivered"]
    assert isinstance(first.data, DeliveryChanged)
    assert first.data.notification == "n1"


async def test_kinds_choose(publisher: Publisher, responder: Responder) -> None:
    """Only events of the chosen kinds arrive."""
    async with publisher.events(["notification.failed", "notification.delivered"]) as events:
        for state in (STORED, FAILED, STORED, DELIVERED):
            await responder.become("n1", state)
        kinds = [(await anext(events)).kind for _ in range(2)]
    assert kinds == ["notification.failed", "notification.delivered"]


@pytest.mark.parametrize("kinds", ["notification", "#", "*.delivered", (), ["notification.late"]])
async def test_kinds_that_do_not_exist_are_refused(publisher: Publisher, kinds: str) -> None:
    """A kind that no event has is an error with the kinds there are."""
    with pytest.raises(ValueError, match=r"notification\.delivered"):
        publisher.events(kinds)


async def test_events_of_other_senders_stay_away(
    responder: Responder, server: MemoryServer
) -> None:
    """A sender sees its own events only, whatever dots are in the names."""
    broker = MemoryBroker(server, user="shop.eu")
    async with Publisher(broker) as publisher, publisher.events() as events:
        for number, sender in enumerate(["shop", "eu", "other.eu", "shop.eu"]):
            await responder.become(f"n{number}", DELIVERED, sender=sender)
        event = await anext(events)
    assert isinstance(event.data, DeliveryChanged)
    assert event.data.notification == "n3"


async def test_what_cannot_be_read_is_skipped_and_logged(
    publisher: Publisher, responder: Responder, caplog: pytest.LogCaptureFixture
) -> None:
    """An event of a newer server, or garbage, ends no stream and leaves a trace."""
    async with publisher.events() as events:
        await responder.publish_event("notification.delivered", b"\xffgarbage")
        await responder.become("n1", DELIVERED)
        assert (await anext(events)).kind == "notification.delivered"
    assert "event_skipped" in caplog.text
    assert "garbage" not in caplog.text


async def test_after_a_lost_connection_it_goes_on_and_says_so(
    publisher: Publisher,
    responder: Responder,
    broker: TellingBroker,
    server: MemoryServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The stream survives its connection, and counts that events may have been lost."""
    async with publisher.events() as events:
        await responder.become("n1", STORED)
        assert (await anext(events)).kind == "notification.stored"
        server.drop_connection("shop")
        following = asyncio.ensure_future(anext(events))
        await broker.until_subscribed(2)
        await responder.become("n1", DELIVERED)
        assert (await following).kind == "notification.delivered"
        assert events.interruptions == 1
    assert "events_queue_lost" in caplog.text


async def test_closing_ends_the_iteration(publisher: Publisher) -> None:
    """A loop over the events ends when the Publisher is closed, and stays ended."""
    events = publisher.events()
    async with events:
        following = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)
        await publisher.close()
        assert await following is None
        assert await anext(events, None) is None


async def test_a_plain_loop_opens_the_stream(
    publisher: Publisher, responder: Responder, broker: TellingBroker
) -> None:
    """Without ``async with`` the stream starts at its first iteration."""
    events = publisher.events()
    following = asyncio.ensure_future(anext(events))
    await broker.until_subscribed(1)
    await responder.become("n1", DELIVERED)
    assert (await following).kind == "notification.delivered"
    await events.aclose()
