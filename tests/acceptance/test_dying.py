from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aoi_events import Publisher, send_request
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import ErrorCode, RequestRefused
from tests.acceptance.audit import Audit
from tests.acceptance.crash_points import DIED, LAUNCHER
from tests.acceptance.device_pool import APPS, DevicePool
from tests.acceptance.server_under_test import ServerUnderTest
from tests.support.commands import run
from tests.support.limits import WITHIN
from tests.support.processes import Workers

OTHERS = ("registration-1", "activation-1", "gateway-1", "outcome-1", "deadlines-1")
INNOCENT = 40


async def restart_whenever_it_dies(workers: Workers) -> None:
    """As a service manager does, until it is drained."""
    code = DIED
    while code == DIED:
        worker = await workers.spawn("notification-1", launcher=LAUNCHER)
        code = await worker.ended(within=3 * WITHIN)
    assert code == 0, worker.seen()


@pytest.mark.timeout(600)
async def test_what_kills_its_process_is_set_aside_and_takes_nobody_along(
    server: ServerUnderTest, tmp_path: Path
) -> None:
    """A request that ends every process that handles it gets parked, its sender is told, and the
    innocent ones beside it are all delivered.
    """
    names = [f"innocent-{number}" for number in range(INNOCENT)]
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers(OTHERS) as workers,
        DevicePool(server.gateways[:1], server.smsc) as pool,
        Publisher(server.broker("shop"), timeout=3 * WITHIN) as publisher,
    ):
        await pool.join(1, sms=False)
        (device,) = pool.devices
        token = device.tokens[APPS[0]]
        half = INNOCENT // 2
        requests = [
            send_request(token, name, notification=name)
            for name in [*names[:half], "deadly", *names[half:]]
        ]
        keeping = asyncio.create_task(restart_whenever_it_dies(workers))
        sent = [each async for each in publisher.send_many(requests, window=len(requests))]
        refused = [each for each in sent if each.error is not None]
        assert [each.request.notification for each in refused] == ["deadly"]
        assert isinstance(refused[0].error, RequestRefused)
        assert refused[0].error.code == ErrorCode.INTERNAL
        deliveries = [
            accepted.delivery
            for each in sent
            if each.answer is not None
            for accepted in each.answer.deliveries
        ]
        await audit.until_settled(deliveries, within=WITHIN)
        assert set(audit.states().values()) == {DeliveryState.DELIVERED}
        assert device.seen == {(APPS[0], name): 1 for name in names}
        codes = await workers.drain()
        await keeping
        assert set(codes.values()) == {0}, codes
    listed = await asyncio.to_thread(
        run, "dead", "list", "--json", cwd=tmp_path, settings=server.environment
    )
    assert listed.code == 0, listed.err
    (parked,) = listed.json["parked"]
    assert parked["queue"] == "aoi.notification"
    assert parked["sender"] == "shop"
    assert parked["code"] == "internal"
    assert parked["replayable"]
    died = [worker for worker in workers.all if worker.kind == "notification"]
    # Twice with others, and each time alone until the quarantine's limit.
    assert 3 <= len(died) <= 12


@pytest.mark.timeout(600)
async def test_what_was_committed_and_never_sent_is_sent_by_the_next(
    server: ServerUnderTest,
) -> None:
    """The process dies between commit and publish, and nobody takes its place until the delivery is
    stored, as its device said nothing: the device, connected all the time, gets it all the same.
    """
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers(OTHERS) as workers,
        DevicePool(server.gateways[:1], server.smsc) as pool,
        Publisher(server.broker("shop"), timeout=3 * WITHIN) as publisher,
    ):
        await pool.join(1, sms=False)
        (device,) = pool.devices
        sending = asyncio.create_task(
            publisher.send(device.tokens[APPS[0]], "hello", notification="orphan")
        )
        crashing = await workers.spawn("notification-1", launcher=LAUNCHER)
        assert await crashing.ended() == DIED
        await audit.until(lambda: bool(audit.stored), "it is stored", within=WITHIN)
        await workers.start("notification-1")
        accepted = await sending
        (delivery,) = (each.delivery for each in accepted.deliveries)
        await audit.until_settled([delivery], within=WITHIN)
        assert audit.states() == {delivery: DeliveryState.DELIVERED}
        assert device.seen == {(APPS[0], "hello"): 1}
