"""``make bench BENCH=channels``: compares plans in a model, from the command line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table

from aoi_events.cli.output import Json, console, print_json
from tests.benchmarks.channels.comparing import WAYS, Cell, compare
from tests.benchmarks.channels.plot import draw
from tests.benchmarks.channels.world import World


def channels(
    notifications: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="COUNT", help="how many, one device each")
    ] = 10_000,
    failing: Annotated[
        str,
        typer.Option(metavar="PERCENT,...", help="percentages of data connections that are dead"),
    ] = "0,5,20,50",
    hedge_after: Annotated[
        float,
        typer.Option(min=0.0, max=3_600.0, metavar="SECONDS", help="head start of each channel"),
    ] = 2.0,
    ttl: Annotated[
        float, typer.Option(min=1.0, max=86_400.0, metavar="SECONDS", help="time to live")
    ] = 300.0,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="the same seed gives the same results")
    ] = 1,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="also draw a .svg, .png or .pdf")
    ] = None,
    json: Json = False,
) -> None:
    """Simulate the same notifications over each kind of plan while data connections die silently.

    The decisions are the server's own, in virtual time; connections and short messages are
    modelled, as the last lines of the output say.
    """
    shares = _shares(failing)
    world = World()
    cells: list[Cell] = []
    with Progress(console=console, transient=True, disable=json) as progress:
        task = progress.add_task("simulating", total=len(shares) * len(WAYS))
        for cell in compare(
            world,
            notifications=notifications,
            shares=shares,
            seed=seed,
            hedge_after=hedge_after,
            ttl=ttl,
        ):
            cells.append(cell)
            progress.advance(task)
    cells.sort(key=lambda cell: cell.failing)
    title = f"{notifications:,} notifications, TTL {ttl:g} s, hedge after {hedge_after:g} s"
    if plot is not None:
        draw(cells, plot, title=title)
    if json:
        print_json([asdict(cell) for cell in cells])
        return
    console.print(_table(cells, title))
    console.print(
        f"Model: a dead connection is noticed within {world.noticed_within:g} s and back after "
        f"{world.away:g} s on average; to the app over it median {world.connection.median:g} s; "
        f"an SMS takes median {world.sms.median:g} s, {world.sms_lost:.0%} are lost; "
        f"cost: one unit an SMS; seed {seed}.",
        soft_wrap=True,
    )


def _shares(text: str) -> list[float]:
    try:
        shares = [float(part) / 100 for part in text.split(",")]
    except ValueError:
        shares = []
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise typer.BadParameter("use numbers from 0 to 100, as 0,5,20,50", param_hint="--failing")
    return shares


def _table(cells: list[Cell], title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0)
    table.add_column("dead % ", justify="right", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    for column in ("delivered %", " p50 s", " p95 s", " p99 s", " sent", " cost"):
        table.add_column(column, justify="right", no_wrap=True)
    before: float | None = None
    for cell in cells:
        if before is not None and cell.failing != before:
            table.add_section()
        table.add_row(
            "" if cell.failing == before else f"{100 * cell.failing:g}",
            cell.way,
            f"{100 * cell.delivered:.2f}",
            *(_time(each) for each in (cell.p50, cell.p95, cell.p99)),
            f"{cell.sent:.2f}",
            f"{cell.cost:.2f}",
        )
        before = cell.failing
    return table


def _time(seconds: float | None) -> str:
    """The time with about three significant digits."""
    if seconds is None:
        return "-"
    digits = 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f}"
