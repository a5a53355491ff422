"""Fallbacks of messages that were let go and came back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from aoi_events.broker.late_fallbacks import LateFallbacks
from aoi_events.errors import AoiError, BrokerUnavailable, ConfigurationError
from aoi_events.ports.broker import Outbound, Published

LOST = Outbound("", "gateway", b"", if_returned=Outbound("", "outcomes", b"route lost"))
NO_FALLBACK = Outbound("", "gateway", b"")


async def test_what_came_back_late_is_published_together() -> None:
    """After a return and after a nack, but not after a confirm, and not without a fallback."""
    published: asyncio.Queue[Sequence[Outbound]] = asyncio.Queue()

    async def publish(messages: Sequence[Outbound]) -> Sequence[Published]:
        await published.put(messages)
        return [Published.CONFIRMED] * len(messages)

    late = LateFallbacks(publish)
    late.add(LOST, Published.CONFIRMED)
    late.add(NO_FALLBACK, Published.RETURNED)
    late.add(LOST, Published.RETURNED)
    late.add(LOST, Published.NACKED)
    assert await published.get() == [LOST.if_returned] * 2
    await asyncio.sleep(0)
    late.add(LOST, Published.RETURNED)
    assert await published.get() == [LOST.if_returned]
    await late.close()
    assert published.empty()


async def test_what_the_broker_does_not_take_is_not_reported_as_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A full queue refuses one of two: one line says that it is lost."""
    answered = asyncio.Event()

    async def publish(_: Sequence[Outbound]) -> Sequence[Published]:
        answered.set()
        return [Published.CONFIRMED, Published.NACKED]

    late = LateFallbacks(publish)
    for _ in range(2):
        late.add(LOST, Published.RETURNED)
    await answered.wait()
    await asyncio.sleep(0)
    await late.close()
    said = [(record.getMessage(), record.__dict__["messages"]) for record in caplog.records]
    assert said == [("fallbacks_lost", 1)]


@pytest.mark.parametrize("error", [BrokerUnavailable, ConfigurationError])
async def test_without_a_broker_they_are_left_to_the_deadlines(
    caplog: pytest.LogCaptureFixture, error: type[AoiError]
) -> None:
    """They are dropped with one line in the log, and the next ones are tried again."""
    tries = asyncio.Semaphore(0)

    async def publish(_: Sequence[Outbound]) -> Sequence[Published]:
        tries.release()
        raise error("the test took it away")

    late = LateFallbacks(publish)
    for _ in range(2):
        late.add(LOST, Published.RETURNED)
        await tries.acquire()
        await asyncio.sleep(0)
    await late.close()
    assert [record.getMessage() for record in caplog.records] == ["fallbacks_lost"] * 2
