from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.recovery import Recovery
from tests.chaos.report import Report
from tests.support.pages import ROOT, text_of

SHOWN = ROOT / "tests" / "chaos" / "shown"
GOOD = Report(
    seed=1,
    handling="ignore",
    devices=25,
    recoveries=[
        Recovery("leader killed", flows=True, lasted=9.0, first=1.5, all=8.0, dark=0),
        Recovery("all nodes killed", flows=False, lasted=20.0, first=12.0, all=14.0, dark=0),
    ],
    counts={"accepted": 1_234, "lost": 0, "doubled": 0, "ended workers": 0},
)


def test_the_documentation_shows_a_run() -> None:
    """The table and the plot of the page are what the committed numbers give."""
    report = Report.read(SHOWN)
    assert (SHOWN / "report.md").read_text() == report.table()
    assert (SHOWN / "report.svg").read_text() == report.svg()
    page = text_of("docs/explanation/cluster.md")
    assert "../../tests/chaos/shown/report.svg" in page
    assert "../../tests/chaos/shown/report.md" in page
    assert f"SEED={report.seed}" in page


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All numbers come back."""
    GOOD.write(tmp_path)
    assert Report.read(tmp_path) == GOOD


def test_the_table_has_a_row_for_each_fault_and_the_counts() -> None:
    """A fault that leaves no majority has a star."""
    table = GOOD.table()
    assert "| leader killed | 9.0 | 1.5 | 8.0 | 0 |" in table
    assert "| all nodes killed * | 20.0 | 12.0 | 14.0 | 0 |" in table
    assert "| 1,234 | 0 | 0 | 0 |" in table


def test_the_plot_has_two_bars_for_each_fault() -> None:
    """A longer time has a longer bar."""
    found = re.findall(r'<rect x="200" y="[\d.]+" width="([\d.]+)" height="11"', GOOD.svg())
    bars = [float(each) for each in found]
    assert len(bars) == 4
    assert bars == sorted(bars)


@pytest.mark.parametrize("name", ["lost", "doubled", "ended workers"])
def test_what_is_lost_or_doubled_and_a_worker_that_ends_are_failures(name: str) -> None:
    """Each is counted by name."""
    assert replace(GOOD, counts=GOOD.counts | {name: 2}).failures == [f"2 {name}"]


def test_dark_devices_and_slow_recoveries_are_failures() -> None:
    """A fault that leaves a majority has ten seconds; the others only must end by themselves."""
    assert GOOD.failures == []
    leader, every = GOOD.recoveries
    slow = [replace(leader, all=10.5), replace(every, dark=3)]
    assert replace(GOOD, recoveries=slow).failures == ["3 dark", "leader killed: 10.5 s"]
