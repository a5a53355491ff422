"""Faults one after the other under load, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.acceptance.device_pool import Device, DevicePool
from tests.chaos.clustered_server import COPIES, ClusteredServer
from tests.chaos.events import Events
from tests.chaos.faults import Fault, Scene
from tests.chaos.ledger import Ledger
from tests.chaos.recovery import Recovery, first_and_all
from tests.chaos.senders import USER, send
from tests.chaos.verdict import ROWS, Verdict, judge
from tests.support.limits import WITHIN
from tests.support.processes import Workers

log = logging.getLogger(__name__)

_DARK_AFTER: Final = 90.0
"""Seconds after a fault's end after which a device without a notification is dark."""
_LATEST_EVENT: Final = 10.0
"""Seconds after the last delivery ended in which its event comes."""
_LOOK_EVERY: Final = 1.0
_GATEWAYS: Final = ("gateway-1", "gateway-2")


@dataclass(frozen=True)
class Load:
    """How many devices there are, how many notifications a second are sent, and for how many
    seconds the load goes on after each fault.
    """

    devices: int = 24
    rate: float = 24.0
    calm: float = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found; ``short_messages`` were submitted to the SMSC, ``ended`` are the processes
    that ended by themselves.
    """

    recoveries: list[Recovery]
    verdict: Verdict
    repeats: int
    short_messages: int
    ended: list[str]


async def run(server: ClusteredServer, faults: Sequence[Fault], rng: Random, load: Load) -> Outcome:
    """Let each fault happen once everything flows, then judge."""
    ledger = Ledger()

    def show(device: Device, application: str, content: str) -> None:
        ledger.show(device.name, application, content)

    async with (
        Events(server.brokers("audit", first=0)) as events,
        server.workers(COPIES) as workers,
        DevicePool(server.gateways, server.smsc, hear=show) as pool,
    ):
        await pool.join(load.devices, sms=False)
        await pool.join(1)
        ledger.address(pool.devices)
        scene = Scene(server, workers, rng)
        ended: list[str] = []
        done = asyncio.Event()
        orders = [server.brokers(USER, first=first) for first in range(len(scene.nodes))]
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send(orders, ledger, rate=load.rate, until=done))
            if dark := await _served(ledger, time.monotonic(), WITHIN):
                raise AssertionError(f"dark before any fault: {_names(dark)}")
            recoveries: list[Recovery] = []
            for fault in faults:
                recoveries.append(await _happen(fault, scene, ledger, calm=load.calm))
                ended += await _started_again(workers)
            done.set()
            await asyncio.wait([sending], timeout=WITHIN)
            if open_ := len(ledger.notifications) - ledger.confirmed:
                raise AssertionError(f"{open_} requests were not confirmed after {WITHIN:g} s")
        rows = await _settled(server, ledger)
        await events.until_ended({name for name, _ in rows}, within=_LATEST_EVENT)
    strange = [f"{content} at {device}, {app}" for device, app, content in ledger.strange]
    return Outcome(
        recoveries,
        judge(ledger.notifications, rows, events.ends, strange),
        events.repeats,
        len(server.smsc.submissions),
        ended,
    )


async def _happen(fault: Fault, scene: Scene, ledger: Ledger, *, calm: float) -> Recovery:
    begun = time.monotonic()
    log.warning("%s", fault.name)
    end = await fault.begin(scene)
    await asyncio.sleep(scene.rng.uniform(*fault.lasts))
    await end()
    ended = time.monotonic()
    log.warning("%s: over after %.1f s", fault.name, ended - begun)
    dark = await _served(ledger, ended, _DARK_AFTER)
    if dark:
        log.warning("dark after %g s: %s", _DARK_AFTER, _names(dark))
        await scene.restart(*_GATEWAYS)
        if await _served(ledger, time.monotonic(), _DARK_AFTER):
            log.warning("dark with new gateways, too")
    # What nodes do to join again belongs to this fault, and the next must leave a majority.
    await asyncio.to_thread(scene.server.cluster.wait_complete)
    await asyncio.sleep(calm)
    start = begun if fault.flows else ended
    recovery = Recovery(
        fault.name,
        fault.flows,
        ended - begun,
        *first_and_all(ledger.arrivals(), start, time.monotonic()),
        dark=len(dark),
    )
    log.warning("%s", recovery)
    return recovery


async def _started_again(workers: Workers) -> list[str]:
    """The processes that ended by themselves; new ones take their places."""
    missing = sorted(set(COPIES) - {worker.name for worker in workers.running})
    for name in missing:
        worker = [each for each in workers.all if each.name == name][-1]
        log.warning("%s ended by itself with %d%s", name, await worker.ended(), worker.seen())
        await workers.start(name)
    return missing


async def _served(ledger: Ledger, since: float, within: float) -> list[Device]:
    """The devices that are dark, once there are none or the time is over."""
    await ledger.until(lambda: not ledger.dark(since), within=within)
    return ledger.dark(since)


def _names(devices: Sequence[Device]) -> str:
    return ", ".join(device.name for device in devices)


async def _settled(server: ClusteredServer, ledger: Ledger) -> list[tuple[str, str]]:
    """The rows, once all of them ended or the time is over."""
    late = time.monotonic() + WITHIN
    while True:
        rows = [(each["notification"], each["state"]) for each in await server.query(ROWS, USER)]
        open_ = [name for name, state in rows if state in ("sending", "stored")]
        if (not open_ and len(rows) >= ledger.confirmed) or time.monotonic() > late:
            return rows
        log.warning("%d of %d have not ended", len(open_), len(rows))
        await asyncio.sleep(_LOOK_EVERY)
