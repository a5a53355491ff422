from __future__ import annotations

import asyncio
import logging
import random

import pytest

from aoi_events import Publisher
from tests.acceptance.audit import Audit
from tests.acceptance.device_pool import DevicePool
from tests.acceptance.load import Load
from tests.acceptance.server_under_test import EVERY_KIND, ServerUnderTest, seeded
from tests.support.limits import WITHIN
from tests.support.processes import Workers

log = logging.getLogger(__name__)

COPIES = [f"{kind}-{copy}" for kind in EVERY_KIND if kind != "sms" for copy in (1, 2)] + ["sms-1"]
KILLS = 12


async def kill_at_random(
    workers: Workers, pool: DevicePool, audit: Audit, rng: random.Random, *, done: asyncio.Event
) -> None:
    """``kill -9`` for one of every kind, and more, each after a random number of deliveries has
    ended; it is started again at once, as whoever runs workers does. Meanwhile more devices come.
    """
    kinds = [*EVERY_KIND, *rng.choices(EVERY_KIND, k=KILLS - len(EVERY_KIND))]
    rng.shuffle(kinds)
    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            await audit.until_more(rng.randrange(10, 70), within=WITHIN)
            copies = [worker for worker in workers.running if worker.kind == kind]
            victim = rng.choice([worker for worker in copies if worker.started] or copies)
            await victim.until_logged("started")
            log.warning("%d have ended: kill -9 %s", len(audit.ends), victim)
            victim.kill()
            await victim.ended()
            await workers.spawn(victim.name)
            group.create_task(pool.join(2))
    done.set()


@pytest.mark.timeout(600)
async def test_every_accepted_delivery_ends_once_whoever_is_killed(server: ServerUnderTest) -> None:
    """Workers of every kind die at random moments under load: nothing is lost or doubled."""
    rng = seeded()
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers(COPIES) as workers,
        DevicePool(server.gateways, server.smsc) as pool,
        Publisher(server.broker("shop")) as publisher,
    ):
        await pool.join(16)
        load = Load(pool, audit, rng)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.send(publisher, until=done))
            group.create_task(kill_at_random(workers, pool, audit, rng, done=done))
        await load.check(server, within=WITHIN)
        await asyncio.gather(*(worker.until_logged("started") for worker in workers.running))
        codes = await workers.drain()
        assert set(codes.values()) == {0}, codes
        await load.check_in_store(server)
        log.warning("%d deliveries, %d events came again", len(load.deliveries), audit.repeats)
