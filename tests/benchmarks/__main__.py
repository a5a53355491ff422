"""``make bench``: measures, and prints medians with ranges; never a test.

``make bench BENCH="hop --runs 3"`` runs one benchmark.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from aoi_events.errors import ConfigurationError
from aoi_events.telemetry.logs import configure_logging
from tests.benchmarks.channels.command import channels
from tests.benchmarks.delivery.run import run_delivery
from tests.benchmarks.gateway.run import run_gateway
from tests.benchmarks.hop.run import run_hop

app = typer.Typer(add_completion=False)
console = Console(width=110)

Runs = Annotated[int, typer.Option(metavar="COUNT", help="how often to measure")]
Count = Annotated[int, typer.Option(metavar="COUNT", help="messages in each run")]
Devices = Annotated[int, typer.Option(metavar="COUNT", help="devices that receive")]


@app.callback(invoke_without_command=True)
def every(
    context: typer.Context, runs: Runs = 5, count: Count = 20_000, devices: Devices = 100
) -> None:
    """Run the benchmarks hop, delivery and gateway, or the one that is named."""
    configure_logging(level="warning", form="console")
    if context.invoked_subcommand is None:
        hop(runs, count)
        delivery(runs, count, devices)
        gateway()


@app.command()
def hop(runs: Runs = 5, count: Count = 20_000) -> None:
    """Measure messages a second from queue to queue, beside FastStream."""
    run_hop(console, runs=runs, count=count)


@app.command()
def delivery(runs: Runs = 5, count: Count = 20_000, devices: Devices = 100) -> None:
    """Measure notifications a second from sender to acknowledgement."""
    run_delivery(console, runs=runs, count=count, devices=devices)


@app.command()
def gateway() -> None:
    """Measure connections and messages of WebSocket servers, our gateway among them."""
    run_gateway(console)


app.command()(channels)


if __name__ == "__main__":
    try:
        app(prog_name="make bench")
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from None
