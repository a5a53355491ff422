"""`make bench BENCH=channels`: plans compared, for people and for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from tests.benchmarks.channels.command import channels
from tests.benchmarks.channels.comparing import WAYS, compare
from tests.benchmarks.channels.world import World
from tests.support.commands import Ran

SMALL = ("--notifications", "100", "--failing", "0,50", "--seed", "7")


class Bench:
    """The fixture ``bench``: ``bench("--seed", "7")`` runs the command with these arguments."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._app = typer.Typer(add_completion=False)
        self._app.command()(channels)

    def __call__(self, *arguments: str) -> Ran:
        """How it ended, and what it printed."""
        with pytest.raises(SystemExit) as ended:
            self._app(arguments)
        printed = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, printed.out, printed.err)


@pytest.fixture
def bench(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Bench:
    """Runs the command in an empty folder."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return Bench(capsys)


def test_json_has_what_was_compared(bench: Bench) -> None:
    """Every plan at every share, with the numbers that the comparison gives."""
    cells = compare(
        World(), notifications=100, shares=(0.0, 0.5), seed=7, hedge_after=2.0, ttl=300.0
    )
    wanted = {(cell.way, cell.failing): (cell.delivered, cell.p95) for cell in cells}
    rows = bench(*SMALL, "--json").json
    assert len(rows) == 2 * len(WAYS)
    shown = {(cell["way"], cell["failing"]): (cell["delivered"], cell["p95"]) for cell in rows}
    assert shown == wanted


def test_the_table_names_every_plan_and_the_model(bench: Bench, tmp_path: Path) -> None:
    """Each plan stands under each share, below it what was assumed; the plot is drawn beside."""
    shown = bench(*SMALL, "--plot", "plans.svg").out
    assert all(shown.count(way.name) == 2 for way in WAYS)
    assert "seed 7" in shown
    assert "<svg" in (tmp_path / "plans.svg").read_text()


@pytest.mark.parametrize("failing", ["", "x", "101", "-1", "5;20", "nan"])
def test_a_wrong_share_is_refused(bench: Bench, failing: str) -> None:
    """The message says what to give instead."""
    refused = bench(f"--failing={failing}")
    assert refused.code == 2
    assert "0,5,20,50" in refused.err
