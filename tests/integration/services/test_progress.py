"""Batches of a channel worker that wait for room: their time limit is for time without progress."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest

from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.clock import Clock
from aoi_events.services.channel.submissions import Known, Submissions, Work
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.watchdog import SLICES
from aoi_events.testing.scripted import ADDRESS, ScriptedPlugin, ScriptedProvider
from aoi_events.topology import OUTCOME
from tests.integration.services.one_worker import Bench
from tests.support.device_frames import deliver
from tests.support.limits import WITHIN


class Submitting(Handler[Inbound]):
    """Submits five items for each message."""

    queue = OUTCOME

    def __init__(self, submissions: Submissions, clock: Clock) -> None:
        self._submissions = submissions
        self._clock = clock

    def read(self, message: Inbound) -> Inbound:
        """Nothing is in it."""
        return message

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Submit."""

        async def all_wanted(
            items: Sequence[Work], now: datetime
        ) -> tuple[Sequence[Work], Sequence[Known]]:
            return items, ()

        work = [
            deliver(number, now=self._clock.now(), channel="scripted", parameters={ADDRESS: "a1"})
            for number in range(5)
        ]
        await self._submissions.submit_all(work, all_wanted)
        return []


@pytest.mark.parametrize("quarantined", [False, True], ids=["a batch", "a quarantined message"])
async def test_waiting_for_room_that_becomes_free_is_progress(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, quarantined: bool
) -> None:
    """The provider takes almost the limit for each item, and the batch has several: its process is
    not ended before the provider takes the whole limit for one.
    """
    submitted: asyncio.Queue[Work] = asyncio.Queue()
    answered = asyncio.Semaphore(0)
    gave_up: list[bool] = []

    async def take(items: Sequence[Work]) -> Sequence[SubmitResult]:
        submitted.put_nowait(items[0])
        await answered.acquire()
        return [SubmitResult(None)]

    channel = await ScriptedPlugin(ScriptedProvider(), at_once=1).connect(None)
    monkeypatch.setattr(channel, "deliver", take)
    submissions = Submissions("scripted", channel, bench.store, bench.broker, bench.clock)
    bench.worker = BatchWorker(
        Submitting(submissions, bench.clock),
        broker=bench.broker,
        parking=bench.parking,
        clock=bench.clock,
        give_up=lambda: gave_up.append(True),
    )
    watchdog = bench.worker.hard_watchdog if quarantined else bench.worker.watchdog
    await (bench.fail_twice("five") if quarantined else bench.send("five"))
    await bench.start()
    async with asyncio.timeout(WITHIN):
        for _ in range(3):
            await submitted.get()
            assert not any(watchdog.slice_passed() for _ in range(SLICES - 1))
            answered.release()
        await submitted.get()
    assert gave_up == []
    assert any(watchdog.slice_passed() for _ in range(SLICES + 1))
    assert gave_up == [True]
    for _ in range(2):
        answered.release()
    await bench.end()
    await submissions.close()
    await channel.close()
