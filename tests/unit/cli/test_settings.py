"""``aoi settings``: what an operator can set."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.settings import as_markdown, every_setting
from tests.commands import Cli

README = Path(__file__).parents[3] / "README.md"


def test_every_setting_has_a_meaning() -> None:
    """None is listed without a sentence that explains it."""
    silent = [each.variable for each in every_setting() if len(each.meaning) < 15]
    assert not silent


def test_every_variable_exists_once() -> None:
    """Names are unique; each is one of ours."""
    names = [each.variable for each in every_setting()]
    assert len(names) == len(set(names))
    assert all(name.startswith("AOI_") for name in names)


def test_defaults_are_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting a variable to the default that is shown changes nothing."""
    before = load_settings()
    for each in every_setting():
        if each.variable != "AOI_CONFIG" and not each.variable.startswith("AOI_CHANNELS__"):
            monkeypatch.setenv(each.variable, each.default)
    assert load_settings() == before


def test_the_list_for_people_has_them_all(cli: Cli) -> None:
    """``aoi settings`` shows each variable at the start of a line, with its default."""
    ran = cli("settings")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for each in every_setting():
        expected = f"{each.variable} = {each.default}" if each.default else each.variable
        assert expected in lines


def test_the_readme_has_the_table(cli: Cli) -> None:
    """README.md holds exactly what ``aoi settings --markdown`` prints."""
    ran = cli("settings", "--markdown")
    assert ran.code == 0
    assert ran.out == as_markdown(list(every_setting()))
    _, _, after = README.read_text().partition("<!-- settings -->\n")
    table, marker, _ = after.partition("<!-- /settings -->")
    assert marker, "README.md has no table of settings between its markers"
    assert table == ran.out, "aoi settings --markdown says something else: put it into README.md"
