"""``make chaos SEED=…``: breaks a cluster under load, and shows what came of it; never a test."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from random import Random, SystemRandom
from typing import Annotated

import typer
from rich.console import Console

from aoi_events.testing.containers import PostgresServer
from tests.chaos.clustered_server import clustered_server
from tests.chaos.faults import FAULTS, Fault, draw
from tests.chaos.report import Report
from tests.chaos.run import Load, Outcome, run
from tests.support.rabbit_cluster import RabbitCluster

console = Console(soft_wrap=True)


def chaos(
    folder: Annotated[Path, typer.Argument(help="where report and log are written")],
    seed: Annotated[int | None, typer.Option(help="the same seed draws the same faults")] = None,
    count: Annotated[int, typer.Option(min=1, help="faults that happen")] = len(FAULTS),
    only: Annotated[str, typer.Option(help="faults whose name contains this")] = "",
    devices: Annotated[int, typer.Option(min=2, help="devices that receive")] = Load.devices,
    rate: Annotated[float, typer.Option(min=1, help="notifications a second")] = Load.rate,
    handling: Annotated[
        str, typer.Option(help="RabbitMQ's cluster_partition_handling")
    ] = "pause_minority",
    khepri: Annotated[bool, typer.Option(help="Khepri, or else Mnesia, in RabbitMQ")] = True,
) -> None:
    """Break three RabbitMQ nodes, PostgreSQL and workers under load, and see what comes of it."""
    seed = SystemRandom().randrange(2**32) if seed is None else seed
    rng = Random(seed)
    faults = draw(rng, count, only)
    _log_to(folder)
    console.print(f"seed {seed}: {', '.join(fault.name for fault in faults)}")
    with ExitStack() as stack:
        cluster = stack.enter_context(RabbitCluster(handling, khepri=khepri))
        postgres = PostgresServer()
        stack.callback(postgres.stop)
        postgres.start()
        load = Load(devices=devices, rate=rate)
        outcome = asyncio.run(_run(cluster, postgres, faults, rng, load))
        report = _report(outcome, seed, "khepri" if khepri else handling, devices)
        report.write(folder)
    for field in fields(outcome.verdict):
        if isinstance(names := getattr(outcome.verdict, field.name), dict | list) and names:
            logging.getLogger(__name__).warning("%s: %s", field.name, names)
    console.print(report.table())
    if report.failures:
        raise SystemExit(f"does not hold: {'; '.join(report.failures)}; see {folder}/log")


async def _run(
    cluster: RabbitCluster,
    postgres: PostgresServer,
    faults: list[Fault],
    rng: Random,
    load: Load,
) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch:
        async with clustered_server(cluster, postgres, Path(scratch)) as server:
            return await run(server, faults, rng, load)


def _report(outcome: Outcome, seed: int, handling: str, devices: int) -> Report:
    verdict = outcome.verdict
    counts = {
        field.name.replace("_", " "): value if isinstance(value, int) else len(value)
        for field in fields(verdict)
        if (value := getattr(verdict, field.name)) is not None
    }
    counts |= {"repeated events": outcome.repeats, "short messages": outcome.short_messages}
    counts["ended workers"] = len(outcome.ended)
    return Report(seed, handling, devices, outcome.recoveries, counts)


def _log_to(folder: Path) -> None:
    """Workers and libraries log to a file, the run also to standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    form = "%(asctime)s %(name)s: %(message)s"
    logging.basicConfig(filename=folder / "log", level=logging.WARNING, format=form, filemode="w")
    progress = logging.StreamHandler()
    progress.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("tests.chaos").addHandler(progress)


if __name__ == "__main__":
    typer.run(chaos)
