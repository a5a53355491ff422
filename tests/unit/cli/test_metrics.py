"""``aoi metrics``: what a scraper finds."""

from __future__ import annotations

import re

from aoi_events.cli.metrics import as_markdown
from aoi_events.telemetry.catalogue import CATALOGUE
from tests.support.commands import Cli


def test_the_markdown_is_what_the_reference_includes(cli: Cli) -> None:
    """``aoi metrics --markdown`` prints the table from which the reference page is made."""
    ran = cli("metrics", "--markdown")
    assert (ran.code, ran.out) == (0, as_markdown())
    assert all(f"| `{each.name}` |" in ran.out for each in CATALOGUE)


def test_the_list_for_people_has_them_all(cli: Cli) -> None:
    """``aoi metrics`` shows each metric at the start of a line."""
    ran = cli("metrics")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for each in CATALOGUE:
        assert any(re.match(rf"{each.name}\b", line) for line in lines)
