from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from aoi_events import Publisher
from tests.acceptance.audit import Audit
from tests.acceptance.fleet import Fleet
from tests.acceptance.load import Load
from tests.acceptance.place import EVERY_KIND, Place, seeded
from tests.limits import WITHIN

log = logging.getLogger(__name__)

ONE_OF_EACH = [f"{kind}-1" for kind in EVERY_KIND]


async def under_load(place: Place, *faults: Callable[[], None]) -> None:
    """Load while one fault after the other happens; then nothing is lost, doubled or parked, and
    every worker is still the process that it was.
    """
    async with (
        Audit(place.broker("audit")) as audit,
        place.workers(ONE_OF_EACH) as workers,
        Fleet(place.gateways[:1], place.smsc) as fleet,
        Publisher(place.broker("shop")) as publisher,
    ):
        await fleet.join(20)
        load = Load(fleet, audit, seeded())
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
        await load.check(place, within=WITHIN)
        assert workers.running == workers.all
        codes = await workers.drain()
        assert set(codes.values()) == {0}, codes
        await load.check_in_store(place)
        log.warning("%d deliveries, %d events came again", len(load.deliveries), audit.repeats)


@pytest.mark.timeout(600)
async def test_the_broker_restarts_and_is_killed_under_load(place: Place) -> None:
    """Whatever the broker does, what was accepted is delivered, and workers go on by themselves."""

    def killed() -> None:
        place.rabbit.kill()
        place.rabbit.come_back()

    await under_load(place, place.rabbit.restart, killed)


@pytest.mark.timeout(600)
async def test_the_store_restarts_and_is_killed_under_load(place: Place) -> None:
    """While the database is away workers pause; then they go on, and nothing was parked for it."""

    def killed() -> None:
        place.postgres.kill()
        place.postgres.come_back()

    await under_load(place, place.postgres.restart, killed)
