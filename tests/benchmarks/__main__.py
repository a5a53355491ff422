"""``make bench``: measures, and prints medians with ranges; never a test.

``make bench BENCH="hop --runs 3"`` chooses one.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from aoi_events.telemetry.logs import configure_logging
from tests.benchmarks.delivery.run import run_delivery
from tests.benchmarks.gateway.run import run_gateway
from tests.benchmarks.hop.run import run_hop


def main() -> None:
    """Run what was chosen, or everything."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "which", nargs="?", choices=["hop", "delivery", "gateway", "all"], default="all"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=100)
    chosen = parser.parse_args()
    configure_logging(level="warning", form="console")
    console = Console(width=110)
    if chosen.which in ("hop", "all"):
        run_hop(console, runs=chosen.runs, count=chosen.count)
    if chosen.which in ("delivery", "all"):
        run_delivery(console, runs=chosen.runs, count=chosen.count, devices=chosen.devices)
    if chosen.which in ("gateway", "all"):
        run_gateway(console)


if __name__ == "__main__":
    main()
