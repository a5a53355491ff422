"""Runs the hop in turn on our runtime and on FastStream, and prints both with their ratio."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.ports.broker import Outbound
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import Queue, Topology, quarantine_of
from tests.benchmarks.hop.message import IN_QUEUE, OUT_QUEUE, request_body
from tests.benchmarks.measure import Figure

_SIDES: Final = {
    "aoi-events": "tests.benchmarks.hop.ours",
    "FastStream": "tests.benchmarks.hop.faststream_peer",
}


async def _fill(url: str, count: int) -> None:
    broker = await RabbitBroker.connect(url, name="bench fill")
    try:
        queues = tuple(
            Queue(name, delivery_limit=20)
            for name in (IN_QUEUE, quarantine_of(IN_QUEUE), OUT_QUEUE)
        )
        await broker.declare(Topology(exchanges=(), queues=queues))
        for start in range(0, count, 1_000):
            await broker.publish(
                [
                    Outbound("", IN_QUEUE, request_body(number))
                    for number in range(start, min(start + 1_000, count))
                ]
            )
    finally:
        await broker.close()


def _measure(module: str, url: str, count: int) -> dict[str, float]:
    finished = subprocess.run(  # noqa: S603 - our own module, with our own arguments
        [sys.executable, "-m", module, url, str(count)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        env=os.environ,
    )
    figures: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return figures


def run_hop(console: Console, *, runs: int, count: int) -> None:
    """``runs`` rounds of ``count`` messages for each side, in turn, each in a fresh vhost."""
    rates: dict[str, list[float]] = {name: [] for name in _SIDES}
    cpus: dict[str, list[float]] = {name: [] for name in _SIDES}
    server = RabbitServer()
    server.start()
    try:
        for _ in range(runs):
            for name, module in _SIDES.items():
                vhost = server.new_vhost()
                url = server.url(vhost)
                asyncio.run(_fill(url, count))
                figures = _measure(module, url, count)
                rates[name].append(figures["messages"] / figures["seconds"])
                cpus[name].append(figures["cpu"] * 10_000 / figures["messages"])
                server.delete_vhost(vhost)
    finally:
        server.stop()
    table = Table(title=f"The hop: {count:,} messages of 300 octets, {runs} runs, median (range)")
    for title in ("", "messages/s", "CPU s per 10,000"):
        table.add_column(title, justify="left" if not title else "right")
    for name in _SIDES:
        table.add_row(name, str(Figure(rates[name])), str(Figure(cpus[name])))
    pairs = list(zip(rates["aoi-events"], rates["FastStream"], strict=True))
    ratio = Figure([ours / theirs for ours, theirs in pairs])
    cheaper = Figure([b / a for a, b in zip(cpus["aoi-events"], cpus["FastStream"], strict=True)])
    table.add_row("ratio", f"{ratio} ×", f"1 / {cheaper}")
    console.print(table)
