from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aoi_events import Publisher
from aoi_events.contracts.answers import NotificationAcceptedV1
from tests.acceptance.audit import Audit
from tests.acceptance.crash_points import LAUNCHER
from tests.acceptance.device_pool import DevicePool
from tests.acceptance.load import Load
from tests.acceptance.server_under_test import EVERY_KIND, ServerUnderTest, seeded
from tests.support.limits import WITHIN
from tests.support.processes import Worker, Workers

DRAINED, UNREACHABLE, GAVE_UP, NOT_DRAINED, SETTINGS, AT_ONCE = 0, 69, 70, 75, 78, 143


@dataclass(frozen=True)
class Held:
    """A notification worker in the middle of a request, which goes on when `let_go` says so."""

    workers: Workers
    worker: Worker
    fifo: Path
    answer: asyncio.Task[NotificationAcceptedV1]

    def let_go(self) -> None:
        """Let it finish what it took."""
        writer = os.open(self.fifo, os.O_WRONLY)
        os.write(writer, b".")
        os.close(writer)

    async def replaced(self) -> NotificationAcceptedV1:
        """What another worker answers to the same request."""
        await self.workers.start("notification-2")
        async with asyncio.timeout(WITHIN):
            return await self.answer


@asynccontextmanager
async def held(server: ServerUnderTest, folder: Path, **settings: str) -> AsyncIterator[Held]:
    """A worker that has just taken a request, and takes its time."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    async with (
        server.workers([]) as workers,
        Publisher(server.broker("shop"), timeout=WITHIN) as publisher,
    ):
        settings["RELEASE_FIFO"] = str(fifo)
        worker = await workers.spawn("notification-1", launcher=LAUNCHER, **settings)
        await worker.until_logged("started")
        # Of a token that nobody has, all that is asked for is an answer.
        answer = asyncio.create_task(publisher.send("nobodys", "x", notification="held"))
        await worker.until_logged("held")
        try:
            yield Held(workers, worker, fifo, answer)
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)


async def test_term_finishes_what_was_taken(server: ServerUnderTest, tmp_path: Path) -> None:
    """TERM: no more is taken, what was taken is finished, answered and acknowledged, exit 0."""
    async with held(server, tmp_path) as taken:
        taken.worker.terminate()
        await taken.worker.until_logged("draining")
        taken.let_go()
        assert await taken.worker.ended() == DRAINED
        async with asyncio.timeout(WITHIN):
            assert (await taken.answer).rejected
        assert await server.waiting() == {}


async def test_a_second_term_ends_it_at_once(server: ServerUnderTest, tmp_path: Path) -> None:
    """The second TERM waits for nothing: exit 143; what was taken is another worker's."""
    async with held(server, tmp_path) as taken:
        taken.worker.terminate()
        await taken.worker.until_logged("draining")
        taken.worker.terminate()
        assert await taken.worker.ended() == AT_ONCE
        assert (await taken.replaced()).rejected


async def test_what_cannot_be_drained_is_left_to_others(
    server: ServerUnderTest, tmp_path: Path
) -> None:
    """Past the time for draining it ends all the same: exit 75; another worker answers."""
    async with held(server, tmp_path, AOI_DRAIN_WITHIN="0.2") as taken:
        taken.worker.terminate()
        assert await taken.worker.ended() == NOT_DRAINED
        assert (await taken.replaced()).rejected


async def test_a_message_that_holds_two_processes_ends_the_third(
    server: ServerUnderTest, tmp_path: Path
) -> None:
    """After two deaths it is handled alone, and no longer than it may: exit 70; then, as it holds
    nobody any more, it is answered.
    """
    async with held(server, tmp_path) as taken:
        again = {"RELEASE_FIFO": str(taken.fifo), "AOI_QUARANTINE_LIMIT": "0.5"}
        taken.worker.kill()
        await taken.worker.ended()
        second = await taken.workers.spawn("notification-1", launcher=LAUNCHER, **again)
        await second.until_logged("held")
        second.kill()
        await second.ended()
        third = await taken.workers.spawn("notification-1", launcher=LAUNCHER, **again)
        assert await third.ended() == GAVE_UP
        assert third.logged("gave_up")
        assert (await taken.replaced()).rejected


@pytest.mark.parametrize(
    "settings, code, told",
    [
        ({"AOI_BROKER": "memory://"}, SETTINGS, "settings"),
        ({"AOI_STORE": "postgresql://aoi:aoi@127.0.0.1:1/aoi"}, UNREACHABLE, "unreachable"),
        ({"AOI_BROKER": "amqp://aoi:aoi@127.0.0.1:1/aoi"}, UNREACHABLE, "unreachable"),
    ],
    ids=["settings", "no store", "no broker"],
)
async def test_a_worker_that_cannot_start_says_why(
    server: ServerUnderTest, settings: dict[str, str], code: int, told: str
) -> None:
    """Settings that cannot work end it with 78; what cannot be reached in time with 69."""
    async with server.workers([]) as workers:
        worker = await workers.spawn("outcome", AOI_START_WITHIN="0.5", **settings)
        assert await worker.ended() == code
        assert worker.logged(told), worker.seen()


@pytest.mark.timeout(600)
async def test_a_rolling_restart_is_not_noticed(server: ServerUnderTest) -> None:
    """Under load one copy of every worker after the other gets TERM, and the other goes on: each
    exits 0, and nothing is lost, doubled or parked.
    """
    names = [f"{kind}-{copy}" for kind in EVERY_KIND for copy in (1, 2)]
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers(names) as workers,
        DevicePool(server.gateways, server.smsc) as pool,
        Publisher(server.broker("shop")) as publisher,
    ):
        await pool.join(12)
        load = Load(pool, audit, seeded())
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.send(publisher, until=done))
            for old in [worker for worker in workers.all if worker.name.endswith("-1")]:
                await audit.until_more(20, within=WITHIN)
                old.terminate()
                assert await old.ended() == DRAINED, old.seen()
            await audit.until_more(20, within=WITHIN)
            done.set()
        await load.check(server, within=WITHIN)
        codes = await workers.drain()
        assert set(codes.values()) == {DRAINED}, codes
        await load.check_in_store(server)
