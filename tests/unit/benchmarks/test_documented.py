"""The table of plans in the documentation is what the command says."""

from __future__ import annotations

import re

import pytest

from tests.benchmarks.channels.comparing import WAYS, compare
from tests.benchmarks.channels.playing import Way
from tests.benchmarks.channels.world import World
from tests.support.pages import block

PAGE = "docs/explanation/second-channel.md"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_table_is_current(way: Way) -> None:
    """Its lines for each plan, computed again: the same share, times, messages and cost."""
    told = re.findall(rf"^[ 0-9]+ {way.name} +(.+)$", block(PAGE, "text"), re.MULTILINE)
    shares = (0.0, 0.05, 0.2, 0.5)
    cells = compare(
        World(),
        notifications=10_000,
        shares=shares,
        seed=1,
        hedge_after=2.0,
        ttl=300.0,
        ways=[way],
    )
    assert len(told) == len(shares)
    for line, cell in zip(told, cells, strict=True):
        delivered, p50, p95, p99, sent, cost = (float(each) for each in line.split())
        assert delivered == round(100 * cell.delivered, 2)
        assert (sent, cost) == (round(cell.sent, 2), round(cell.cost, 2))
        for shown, time in ((p50, cell.p50), (p95, cell.p95), (p99, cell.p99)):
            assert time is not None
            assert abs(shown - time) <= max(0.005, 0.005 * time)
