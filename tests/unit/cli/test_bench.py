"""`aoi bench channels`: plans compared, for people and for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.bench.channels import WAYS, compare
from aoi_events.bench.world import World
from tests.commands import Cli

SMALL = ("bench", "channels", "--notifications", "100", "--failing", "0,50", "--seed", "7")


def test_json_has_what_was_compared(cli: Cli) -> None:
    """Every plan at every share, with the numbers that the comparison gives."""
    cells = compare(
        World(), notifications=100, shares=(0.0, 0.5), seed=7, hedge_after=2.0, ttl=300.0
    )
    wanted = {(cell.way, cell.failing): (cell.delivered, cell.p95) for cell in cells}
    printed = cli(*SMALL, "--json").json
    assert len(printed) == 2 * len(WAYS)
    told = {(cell["way"], cell["failing"]): (cell["delivered"], cell["p95"]) for cell in printed}
    assert told == wanted


def test_the_table_names_every_plan_and_the_model(cli: Cli, tmp_path: Path) -> None:
    """Each plan stands under each share, below it what was assumed; the plot is drawn beside."""
    said = cli(*SMALL, "--plot", "plans.svg").out
    assert all(said.count(way.name) == 2 for way in WAYS)
    assert "seed 7" in said
    assert "<svg" in (tmp_path / "plans.svg").read_text()


@pytest.mark.parametrize("failing", ["", "x", "101", "-1", "5;20", "nan"])
def test_a_share_that_is_none_is_told(cli: Cli, failing: str) -> None:
    """The message says what to give instead."""
    refused = cli("bench", "channels", f"--failing={failing}")
    assert refused.code == 2
    assert "0,5,20,50" in refused.err
