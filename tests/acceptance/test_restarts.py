from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from aoi_events import Publisher
from tests.acceptance.audit import Audit
from tests.acceptance.device_pool import DevicePool
from tests.acceptance.load import Load
from tests.acceptance.server_under_test import EVERY_KIND, ServerUnderTest, seeded
from tests.support.limits import WITHIN

log = logging.getLogger(__name__)

ONE_OF_EACH = [f"{kind}-1" for kind in EVERY_KIND]


async def under_load(server: ServerUnderTest, *faults: Callable[[], None]) -> None:
    """Load while one fault after the other happens; then nothing is lost, doubled or parked, and
    every worker is still the process that it was.
    """
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers(ONE_OF_EACH) as workers,
        DevicePool(server.gateways[:1], server.smsc) as pool,
        Publisher(server.broker("shop")) as publisher,
    ):
        await pool.join(20)
        load = Load(pool, audit, seeded())
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.send(publisher, until=done))
            for fault in faults:
                await audit.until_more(100, within=WITHIN)
                log.warning("%d have ended: %s", len(audit.ends), fault.__qualname__)
                await asyncio.to_thread(fault)
                log.warning("%d have ended: it is back", len(audit.ends))
            await audit.until_more(100, within=WITHIN)
            done.set()
        await load.check(server, within=WITHIN)
        assert workers.running == workers.all
        codes = await workers.drain()
        assert set(codes.values()) == {0}, codes
        await load.check_in_store(server)
        log.warning("%d deliveries, %d events came again", len(load.deliveries), audit.repeats)


@pytest.mark.timeout(600)
async def test_the_broker_restarts_and_is_killed_under_load(server: ServerUnderTest) -> None:
    """Whatever the broker does, what was accepted is delivered, and workers go on by themselves."""

    def killed() -> None:
        server.rabbit.kill()
        server.rabbit.come_back()

    await under_load(server, server.rabbit.restart, killed)


@pytest.mark.timeout(600)
async def test_the_store_restarts_and_is_killed_under_load(server: ServerUnderTest) -> None:
    """While the database is away workers pause; then they go on, and nothing was parked for it."""

    def killed() -> None:
        server.postgres.kill()
        server.postgres.come_back()

    await under_load(server, server.postgres.restart, killed)
