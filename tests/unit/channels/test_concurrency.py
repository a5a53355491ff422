"""Slots for items: what lanes, hosts and all of them may use, and that no lane takes it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.base.concurrency import ConcurrencyLimit
from tests.support.limits import WITHIN

AT_ONCE, EACH, EACH_HOST = 200, 8, 32


class Slots:
    """Slots of one limit, taken one after the other, and in use until the end."""

    def __init__(self, stack: AsyncExitStack, limit: ConcurrencyLimit) -> None:
        self.limit = limit
        self._stack = stack

    async def take(self, lane: str, host: str = "", *, doubtful: bool = False) -> bool:
        """Whether there is a slot at once."""
        slot = self.limit.slot(lane, 0, host=host, doubtful=doubtful)
        return await self._stack.enter_async_context(slot)

    async def take_all(self, lane: str, host: str = "") -> int:
        """How many slots there are for a lane."""
        taken = 0
        while await self.take(lane, host):
            taken += 1
        return taken


@pytest.fixture
async def slots() -> AsyncIterator[Slots]:
    """A limit as that of webhooks."""
    async with AsyncExitStack() as stack:
        yield Slots(stack, ConcurrencyLimit(each=EACH, overall=AT_ONCE, each_host=EACH_HOST))


async def test_one_lane_alone_has_its_limit(slots: Slots) -> None:
    """A lane uses as many slots as one lane may, and the next item gets none in time."""
    assert await slots.take_all("a") == EACH


async def test_lanes_that_take_all_they_get_leave_a_slot_to_another(slots: Slots) -> None:
    """150 hosts take every slot that they can get: another lane has one at once."""
    taken = [await slots.take_all(f"{n}/", f"{n}") for n in range(150)]
    assert min(taken) == 1
    assert await slots.take("honest/", "honest")


async def test_lanes_of_one_host_leave_a_slot_to_another(slots: Slots) -> None:
    """12 resources take every slot that they can get: another one of their host has one at once."""
    taken = [await slots.take_all(f"host/{n}", "host") for n in range(12)]
    assert min(taken) == 1
    assert await slots.take("host/live", "host")


async def test_a_host_has_its_limit(slots: Slots) -> None:
    """Any number of resources of one host use no more than the host may, and another has slots."""
    assert sum([await slots.take(f"host/{n}", "host") for n in range(100)]) == EACH_HOST
    assert await slots.take("other/", "other")


async def test_lanes_without_an_answer_have_half(slots: Slots) -> None:
    """Of all slots, and of those of a host, half are for lanes whose last item was answered."""
    dead = [await slots.take(f"{n}/", f"{n}", doubtful=True) for n in range(AT_ONCE)]
    assert sum(dead) == AT_ONCE // 2
    assert await slots.take("honest/", "honest")


async def test_half_of_one_slot_is_one() -> None:
    """The smallest limit lets a lane without an answer through, too."""
    limit = ConcurrencyLimit(each=1, overall=1, each_host=1)
    async with limit.slot("a", 0, doubtful=True) as has_slot:
        assert has_slot


async def test_what_waits_has_the_slot_that_is_given_back() -> None:
    """Items of two lanes wait for the one slot: they have it in turn, one of each lane."""
    limit = ConcurrencyLimit(each=1, overall=1)
    order: list[str] = []

    async def run(lane: str) -> None:
        async with limit.slot(lane, WITHIN) as has_slot:
            assert has_slot
            order.append(lane)

    async with asyncio.TaskGroup() as group, limit.slot("first", 0):
        for lane in ("a", "a", "a", "b", "b"):
            group.create_task(run(lane))
        await asyncio.sleep(0)
        assert order == []
    assert order == ["a", "b", "a", "b", "a"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=40))
def test_every_slot_comes_back(items: list[tuple[int, int, bool]]) -> None:
    """After any items, of which some are cancelled, every slot is free again."""
    limit = ConcurrencyLimit(each=2, overall=4, each_host=3)

    async def run(lane: str, host: str) -> None:
        async with limit.slot(lane, WITHIN, host=host):
            await asyncio.sleep(0)

    async def run_all() -> None:
        tasks = []
        for lane, host, cancelled in items:
            tasks.append(asyncio.create_task(run(f"{host}/{lane}", f"{host}")))
            if cancelled:
                await asyncio.sleep(0)
                tasks[len(tasks) // 2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WITHIN)
        async with AsyncExitStack() as stack:
            slots = Slots(stack, limit)
            free = [await slots.take(f"{n}", f"{n}") for n in range(5)]
        assert free == [True] * 4 + [False]

    asyncio.run(run_all())


@pytest.mark.parametrize(
    "lanes", [["a"] * 20, [f"{number}" for number in range(20)]], ids=["one lane", "one host"]
)
async def test_what_is_slow_leaves_half_of_the_room_to_wait(lanes: list[str]) -> None:
    """Many items wait for longer than a moment for a lane, or for the lanes of a host: those that
    take more than half of the room go, later items go at once, and another host is served.
    """
    limit = ConcurrencyLimit(each=1, overall=5, each_host=1, patience=0.01)

    async def run(lane: str, host: str = "slow") -> bool:
        async with limit.slot(lane, WITHIN, host=host) as has_slot:
            return has_slot

    async with limit.slot("a", 0, host="slow"):
        waiting = asyncio.as_completed([asyncio.create_task(run(lane)) for lane in lanes])
        assert [await next(waiting) for _ in range(8)] == [False] * 8
        assert [await run(lane) for lane in lanes] == [False] * 20
        assert await run("honest", "honest")
    assert [await each for each in waiting] == [True] * 12


async def test_what_is_slow_sends_no_other_of_its_host_away() -> None:
    """Many items wait for a slow lane of a host that has slots left: an item of another lane, which
    waits for its own, keeps its place.
    """
    limit = ConcurrencyLimit(each=2, overall=5, each_host=4, patience=0.01)

    async def run(lane: str) -> bool:
        async with limit.slot(lane, WITHIN, host="host") as has_slot:
            return has_slot

    async with AsyncExitStack() as stack:
        slots = Slots(stack, limit)
        assert [await slots.take(lane, "host") for lane in ("slow", "slow", "live")] == [True] * 3
        waiting = asyncio.as_completed([asyncio.create_task(run("slow")) for _ in range(20)])
        assert [await next(waiting) for _ in range(9)] == [False] * 9
        live = asyncio.create_task(run("live"))
        await asyncio.sleep(0)
        assert not await run("slow")
    assert await live
    assert [await each for each in waiting] == [True] * 11


@pytest.mark.parametrize("a_second, all_stay", [(100, True), (50, False)])
async def test_a_host_keeps_a_room_that_it_serves_in_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, a_second: int, all_stay: bool
) -> None:
    """2,000 items for 500 lanes of one host fill the room of 1,000: none has to go if the host
    answers 100 a second, and some have to if it answers 50.
    """
    seconds = 0.0
    monkeypatch.setattr("aoi_events.channels.base.concurrency.monotonic", lambda: seconds)
    limit = ConcurrencyLimit(each=EACH, overall=AT_ONCE, each_host=EACH_HOST)
    room = asyncio.Semaphore(limit.room)
    asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def run(number: int) -> bool:
        async with room, limit.slot(f"{number % 500}", 60, host="host") as has_slot:
            answered = asyncio.Event()
            asked.put_nowait(answered)
            await answered.wait()
            return has_slot

    items = [asyncio.create_task(run(number)) for number in range(2_000)]
    for _ in items:
        (await asked.get()).set()
        seconds += 1 / a_second
    assert all(await asyncio.gather(*items)) is all_stay


async def test_a_busy_lane_keeps_its_items() -> None:
    """Any number of items wait for a lane that gives slots back: each gets one in its order."""
    limit = ConcurrencyLimit(each=2, overall=5)
    order: list[int] = []

    async def run(number: int) -> None:
        async with limit.slot("busy", WITHIN) as has_slot:
            assert has_slot
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*map(run, range(200)))
    assert order == [*range(200)]
