"""The README's table of plans is what the command says."""

from __future__ import annotations

import re
from pathlib import Path

from aoi_events.bench.channels import WAYS, compare
from aoi_events.bench.world import World

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_the_table_is_current() -> None:
    """Its lines for hedged plans, computed again: the same share, times, messages and cost."""
    section = README.split("## What a second channel is worth")[1].split("\n## ")[0]
    told = re.findall(r"^ +hedged +(.+)$", section, re.MULTILINE)
    [hedged] = [way for way in WAYS if way.name == "hedged"]
    shares = (0.0, 0.05, 0.2, 0.5)
    cells = compare(
        World(),
        notifications=10_000,
        shares=shares,
        seed=1,
        hedge_after=2.0,
        ttl=300.0,
        ways=[hedged],
    )
    assert len(told) == len(shares)
    for line, cell in zip(told, cells, strict=True):
        delivered, p50, p95, p99, sent, cost = (float(each) for each in line.split())
        assert delivered == round(100 * cell.delivered, 2)
        assert (sent, cost) == (round(cell.sent, 2), round(cell.cost, 2))
        for shown, time in ((p50, cell.p50), (p95, cell.p95), (p99, cell.p99)):
            assert time is not None
            assert abs(shown - time) <= max(0.005, 0.005 * time)
