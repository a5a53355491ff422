"""The batch runtime: what it promises of messages, whatever happens."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from aoi_events.broker.memory.subscription import MemorySubscription
from aoi_events.errors import ConfigurationError
from aoi_events.topology import OUTCOME, QUARANTINE_AFTER, quarantine_of
from tests.integration.services.one_worker import Bench
from tests.support.limits import WITHIN


async def test_a_batch_is_whatever_waits(bench: Bench) -> None:
    """Take whatever waits, up to a limit, never wait for more; one transaction."""
    await bench.send("a", "b", "c")
    await bench.start()
    assert await bench.echoed(3) == ["a", "b", "c"]
    assert bench.handler.batches == [["a", "b", "c"]]


async def test_a_bug_parks_the_item_that_has_it_and_no_other(bench: Bench) -> None:
    """An exception in a batch reruns it item by item; an item that fails alone is parked, with an
    *internal* answer, and what its handler owes for it.
    """
    await bench.send("a", "break", "c")
    await bench.start()
    assert sorted(await bench.echoed(3)) == ["a", "abandoned break", "c"]
    assert '"code":"internal"' in await bench.answered()
    (parked,) = await bench.parked()
    assert (parked.code, parked.body, parked.sender) == ("internal", b"break", "shop")
    assert "ValueError" in parked.reason
    assert bench.server.waiting(OUTCOME) == 0


async def test_the_items_of_a_broken_batch_are_repeats(bench: Bench) -> None:
    """A batch may break after its commit, so each item that is handled again alone is marked as
    redelivered, and its handler publishes everything once more.
    """
    await bench.send("a", "break", "c")
    await bench.start()
    await bench.echoed(3)
    assert bench.handler.batches == [["a", "break", "c"], ["a"], ["break"], ["c"]]
    assert bench.handler.again == [False] * 3 + [True] * 3


async def test_what_cannot_be_read_is_parked_and_answered(bench: Bench) -> None:
    """Promise (bad input): never stops a worker and never vanishes: a stable code to reply_to, and
    parked before the ack; a bug in reading counts as one in handling.
    """
    await bench.send("refuse me", "break reading", "a")
    await bench.start()
    assert await bench.echoed(1) == ["a"]
    codes = {await bench.answered(), await bench.answered()}
    assert any('"code":"invalid"' in each and '"field":"a.b"' in each for each in codes)
    assert any('"code":"internal"' in each for each in codes)
    assert {row.code for row in await bench.parked()} == {"invalid", "internal"}


async def test_over_the_quota_is_counted_only(bench: Bench) -> None:
    """Promise (bad input): a quota per sender; what is over it is counted, answered, and gone."""
    await bench.start()
    for _ in range(5):
        await bench.send("refuse me")
        await bench.answered()
    async with bench.store.transaction(read_only=True) as tx:
        assert await tx.parked_counts() == {("shop", "invalid"): (3, 2)}


async def test_a_store_that_is_down_pauses_and_parks_nothing(bench: Bench) -> None:
    """Promise: errors of the store pause consumption and never park; then it goes on, and the
    outputs are all due again.
    """
    bench.handler.store_is_up.clear()
    await bench.send("a", "break")
    await bench.start()
    for tries in (1, 2, 3):
        await bench.handler.calls(tries)
        if tries < 3:
            await bench.patience_passes()
    await bench.send("b")
    assert bench.server.waiting(OUTCOME) == 1  # paused: it is there for others
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert sorted(await bench.echoed(3)) == ["a", "abandoned break", "b"]
    assert bench.handler.batches[:3] == [["a", "break"]] * 3
    assert bench.handler.again[:6] == [False, False, True, True, True, True]


async def test_settings_that_cannot_work_pause_too(bench: Bench) -> None:
    """A token key that is not on this machine is no message's fault: nothing is parked, and the
    work goes on as soon as it can.
    """
    bench.handler.fault = ConfigurationError("token key 'k1' is not here")
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert await bench.echoed(1) == ["a"]
    assert list(await bench.parked()) == []


async def test_a_broker_that_is_gone_after_the_commit_costs_a_repeat(bench: Bench) -> None:
    """Promise: acked only after the outputs are confirmed; lost between commit and confirm, they
    are published by the next run, which knows that it is a repeat.
    """
    bench.handler.after = bench.server.stop
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    bench.handler.after = lambda: None
    bench.server.start()
    await bench.patience_passes()
    await bench.handler.calls(2)
    assert bench.handler.again[1] is True
    assert list(await bench.parked()) == []


async def test_stopped_while_paused_it_ends_at_once(bench: Bench) -> None:
    """Point 5: a worker that waits for the store ends on a stop; its messages stay in the queue."""
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.end()
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 1


async def test_stopped_it_finishes_what_it_took(bench: Bench) -> None:
    """Drain: what was taken is finished and acknowledged."""
    bench.handler.after = bench.stop.set
    await bench.send("a", "b")
    await bench.start()
    await bench.handler.calls(1)
    await bench.end()
    assert await bench.echoed(2) == ["a", "b"]
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 0


async def test_stopped_it_handles_all_that_came_to_it(bench: Bench) -> None:
    """A drain gives nothing back, which would count against it: what came within the prefetch while
    a batch was handled is handled, too.
    """
    bench.handler.may_end.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.send("b", "c")
    bench.stop.set()
    await asyncio.sleep(0)
    bench.handler.may_end.set()
    await bench.end()
    assert await bench.echoed(3) == ["a", "b", "c"]
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 0


async def test_a_fault_while_draining_leaves_the_rest_to_others(bench: Bench) -> None:
    """Point 5: a worker that cannot finish in order, because the store is away, holds nothing."""
    bench.handler.may_end.clear()
    await bench.send("a")
    await bench.start()
    await bench.handler.calls(1)
    await bench.send("b", "c")
    bench.handler.store_is_up.clear()
    bench.stop.set()
    await asyncio.sleep(0)
    bench.handler.may_end.set()
    await bench.end()
    assert bench.server.waiting(OUTCOME) == 2
    await bench.broker.close()
    assert bench.server.waiting(OUTCOME) == 3


async def test_a_message_that_failed_twice_is_handled_alone(bench: Bench) -> None:
    """At a delivery count of 2 it is moved, unparsed, to quarantine, so that the innocent ones of
    its batch do not go down with it; there it keeps its sender and reply_to.
    """
    await bench.fail_twice("refuse me", "b")
    await bench.send("a")
    await bench.start()
    assert sorted(await bench.echoed(2)) == ["a", "b"]
    assert sorted(bench.handler.batches) == [["a"], ["b"]]
    assert '"code":"invalid"' in await bench.answered()
    (parked,) = await bench.parked()
    assert (parked.sender, parked.queue) == ("shop", OUTCOME)


async def test_a_batch_that_blocks_ends_the_process(bench: Bench) -> None:
    """A handler that never returns, not even to the event loop, is ended by a thread."""
    gave_up = threading.Event()
    ended: list[bool] = []
    bench.worker = replace(bench.worker, batch_limit=0.05, give_up=gave_up.set)
    bench.handler.after = lambda: ended.append(gave_up.wait(WITHIN))
    await bench.send("a")
    await bench.start()
    assert await bench.echoed(1) == ["a"]
    assert ended == [True]


async def test_an_attempt_has_a_time_limit_and_a_pause_has_none(bench: Bench) -> None:
    """A batch may pause for as long as the store is away; each attempt has the whole time."""
    watched: list[bool] = []
    bench.handler.after = lambda: watched.append(bench.worker.watchdog.watching)
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.clock.somebody_sleeps()
    assert not bench.worker.watchdog.watching
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert await bench.echoed(1) == ["a"]
    assert watched == [True]


async def test_the_broker_has_the_time_of_the_batch_to_pause_and_resume(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that hangs while it pauses or resumes ends the process, too."""
    watched: list[str] = []

    def note(name: str) -> None:
        original = getattr(MemorySubscription, name)

        async def noted(subscription: MemorySubscription) -> None:
            watched.extend([name] if bench.worker.watchdog.watching else [])
            await original(subscription)

        monkeypatch.setattr(MemorySubscription, name, noted)

    note("pause")
    note("resume")
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    await bench.clock.somebody_sleeps()
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert await bench.echoed(1) == ["a"]
    await bench.end()
    assert watched == ["pause", "resume"]


async def test_a_batch_that_hangs_goes_to_quarantine(bench: Bench) -> None:
    """It ends its process, twice; then its messages are handled alone, and the one that hangs
    holds no other up any more.
    """
    bench.worker = replace(bench.worker, batch_limit=0.05)
    await bench.send("a", "hang")
    for _ in range(QUARANTINE_AFTER):
        await bench.start()
        await bench.dies()
    bench.worker = replace(bench.worker, batch_limit=WITHIN)
    await bench.start()
    assert await bench.echoed(1) == ["a"]
    await bench.handler.calls(4)
    assert bench.handler.batches == [["a", "hang"], ["a", "hang"], ["a"], ["hang"]]
    await bench.dies()
    assert bench.server.waiting(OUTCOME) == 0
    assert bench.server.waiting(quarantine_of(OUTCOME)) == 1


async def test_one_that_hangs_in_quarantine_ends_the_process(bench: Bench) -> None:
    """A hard time limit in quarantine ends the process; others take over."""
    await bench.fail_twice("hang")
    await bench.start()
    await bench.dies()
    assert bench.server.waiting(quarantine_of(OUTCOME)) == 1
