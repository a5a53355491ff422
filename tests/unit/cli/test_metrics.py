"""``aoi metrics``: what a scraper finds."""

from __future__ import annotations

import re
from pathlib import Path

from aoi_events.cli.metrics import as_markdown
from aoi_events.telemetry.catalogue import CATALOGUE
from tests.commands import Cli

README = Path(__file__).parents[3] / "README.md"


def test_the_readme_has_the_list(cli: Cli) -> None:
    """README.md holds exactly what ``aoi metrics --markdown`` prints."""
    ran = cli("metrics", "--markdown")
    assert ran.code == 0
    assert ran.out == as_markdown()
    _, _, after = README.read_text().partition("<!-- metrics -->\n")
    table, marker, _ = after.partition("<!-- /metrics -->")
    assert marker, "README.md has no table of metrics between its markers"
    assert table == ran.out, "aoi metrics --markdown says something else: put it into README.md"


def test_the_list_for_people_has_them_all(cli: Cli) -> None:
    """``aoi metrics`` shows each metric at the start of a line."""
    ran = cli("metrics")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for each in CATALOGUE:
        assert any(re.match(rf"{each.name}\b", line) for line in lines)
