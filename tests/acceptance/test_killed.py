from __future__ import annotations

import asyncio
import logging
import random

import pytest

from aoi_events import Publisher
from tests.acceptance.audit import Audit
from tests.acceptance.fleet import Fleet
from tests.acceptance.load import Load
from tests.acceptance.place import EVERY_KIND, Place, seeded
from tests.limits import WITHIN
from tests.processes import Workers

log = logging.getLogger(__name__)

COPIES = [f"{kind}-{copy}" for kind in EVERY_KIND if kind != "sms" for copy in (1, 2)] + ["sms-1"]
KILLS = 12


async def kill_at_random(
    workers: Workers, fleet: Fleet, audit: Audit, rng: random.Random, *, done: asyncio.Event
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
            group.create_task(fleet.join(2))
    done.set()


@pytest.mark.timeout(600)
async def test_every_accepted_delivery_ends_once_whoever_is_killed(place: Place) -> None:
    """Workers of every kind die at random moments under load: nothing is lost or doubled."""
    rng = seeded()
    async with (
        Audit(place.broker("audit")) as audit,
        place.workers(COPIES) as workers,
        Fleet(place.gateways, place.smsc) as fleet,
        Publisher(place.broker("shop")) as publisher,
    ):
        await fleet.join(16)
        load = Load(fleet, audit, rng)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.send(publisher, until=done))
            group.create_task(kill_at_random(workers, fleet, audit, rng, done=done))
        await load.check(place, within=WITHIN)
        await asyncio.gather(*(worker.until_logged("started") for worker in workers.running))
        codes = await workers.drain()
        assert set(codes.values()) == {0}, codes
        await load.check_in_store(place)
        log.warning("%d deliveries, %d events came again", len(load.deliveries), audit.repeats)
