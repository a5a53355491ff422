"""Measures notifications end to end on real workers, RabbitMQ and PostgreSQL."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from rich.console import Console
from rich.table import Table

from aoi_events import Publisher, send_request
from aoi_events.bootstrap.keys import create_key_file
from aoi_events.contracts.events import DeliveryChanged
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.store.migration import upgrade
from aoi_events.testing.containers import PostgresServer, RabbitServer
from tests.benchmarks.delivery.device_pool import DevicePool, device_pool
from tests.benchmarks.delivery.workers import workers
from tests.benchmarks.measure import Figure

_GATEWAY_PORT = 18_090


@dataclass(frozen=True, slots=True)
class Run:
    """One run: rate, CPU by worker per 10,000, and latencies at a tenth of the load (seconds)."""

    rate: float
    cpu: dict[str, float]
    reached: list[float]
    settled: list[float]


def run_delivery(console: Console, *, runs: int, count: int, devices: int) -> None:
    """``runs`` runs with 1 and with 2 copies of the workers that deliver."""
    rabbit, postgres = RabbitServer(), PostgresServer()
    rabbit.start()
    postgres.start()
    try:
        results = {
            copies: [
                asyncio.run(_run(rabbit, postgres, copies, count=count, devices=devices))
                for _ in range(runs)
            ]
            for copies in (1, 2)
        }
    finally:
        rabbit.stop()
        postgres.stop()
    _print(console, results, count=count, devices=devices)


async def _run(
    rabbit: RabbitServer, postgres: PostgresServer, copies: int, *, count: int, devices: int
) -> Run:
    vhost = rabbit.new_vhost()
    database = await postgres.new_database()
    store = postgres.url(database)
    await upgrade(store)
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        create_key_file(keys)
        environment = {
            "AOI_BROKER": rabbit.url(vhost),
            "AOI_STORE": store,
            "AOI_KEY_FILE": str(keys),
            "AOI_GATEWAY_USERS": '["guest"]',
            "AOI_GATEWAY__PORT": str(_GATEWAY_PORT),
            "AOI_HEALTH__ENABLED": "false",
            "AOI_POLICY__CLIENTS_PER_IDENTITY": "1000",
        }
        names = ["registration", "activation", "gateway", "deadlines"]
        names += ["notification", "outcome"] * copies
        url = f"ws://127.0.0.1:{_GATEWAY_PORT}/aoi"
        async with (
            workers(names, environment) as running,
            device_pool(url, devices) as made,
            Publisher(rabbit.url(vhost), timeout=60) as publisher,
        ):
            await _throughput(publisher, made, store, min(count, 500))  # warms everything up
            before = running.cpu()
            rate = await _throughput(publisher, made, store, count)
            cpu = {
                name: (seconds - before[name]) * 10_000 / count
                for name, seconds in running.cpu().items()
            }
            reached, settled = await _latency(publisher, made, rate / 10)
    rabbit.delete_vhost(vhost)
    await postgres.delete_database(database)
    return Run(rate, cpu, reached, settled)


async def _throughput(publisher: Publisher, made: DevicePool, store: str, count: int) -> float:
    """Notifications a second, from the first publish to the last row that is settled."""
    async with await psycopg.AsyncConnection.connect(store, autocommit=True) as connection:
        waiting = "SELECT count(*) FROM deliveries WHERE state <> 'delivered'"
        begun = time.monotonic()
        async for sent in publisher.send_many(_requests(made, count), window=500):
            assert sent.accepted().deliveries, "every token is good"
        # Asked from outside, as an operator would: the workers tell nobody that all is done.
        while await (await connection.execute(waiting)).fetchone() != (0,):  # noqa: ASYNC110 - the rows are the truth
            await asyncio.sleep(0.02)
        return count / (time.monotonic() - begun)


def _requests(made: DevicePool, count: int) -> Iterator[SendNotificationV1]:
    run = uuid4().hex[:12]
    for number in range(count):
        token = made.tokens[number % len(made.tokens)]
        yield send_request(token, "x" * 200, notification=f"{run}-{number}")


async def _latency(
    publisher: Publisher, made: DevicePool, rate: float
) -> tuple[list[float], list[float]]:
    """Seconds from publish to the app, and to the event that it is settled, at a steady rate."""
    count = max(100, min(2_000, int(rate * 10)))
    begun: dict[str, float] = {}
    settled: dict[str, float] = {}

    async def listen() -> None:
        async for event in events:
            if isinstance(event.data, DeliveryChanged) and event.data.notification in begun:
                settled[event.data.notification] = time.monotonic()
                if len(settled) == count:
                    return

    async with publisher.events("notification.delivered") as events:
        listening = asyncio.create_task(listen())
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, request in enumerate(_requests(made, count)):
                await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
                begun[request.notification] = time.monotonic()
                group.create_task(
                    publisher.send(
                        request.tokens, request.content, notification=request.notification
                    )
                )
        async with asyncio.timeout(30):
            await listening
    return (
        [made.arrived[name] - at for name, at in begun.items()],
        [settled[name] - at for name, at in begun.items()],
    )


def _print(console: Console, results: dict[int, list[Run]], *, count: int, devices: int) -> None:
    table = Table(
        title=f"End to end: {count:,} notifications to {devices} devices, "
        f"{len(results[1])} runs, median (range)"
    )
    for title in ("copies", "notifications/s", "at a tenth: to the app p50, p99 ms", "settled"):
        table.add_column(title, justify="right")
    for copies, runs in results.items():
        table.add_row(
            str(copies),
            str(Figure([run.rate for run in runs])),
            _percentiles([run.reached for run in runs]),
            _percentiles([run.settled for run in runs]),
        )
    console.print(table)
    spent = Table(title="CPU seconds of the workers per 10,000 notifications, median")
    spent.add_column("worker")
    for copies in results:
        spent.add_column(f"{copies} copies", justify="right")
    for name in results[1][0].cpu:
        spent.add_row(
            name,
            *(
                f"{statistics.median(run.cpu[name] for run in runs):.2f}"
                for runs in results.values()
            ),
        )
    console.print(spent)


def _percentiles(runs: list[list[float]]) -> str:
    p50 = Figure([statistics.quantiles(values, n=100)[49] * 1_000 for values in runs])
    p99 = Figure([statistics.quantiles(values, n=100)[98] * 1_000 for values in runs])
    return f"{p50}, {p99}"
