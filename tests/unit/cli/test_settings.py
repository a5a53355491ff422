"""``aoi settings``: what an operator can set."""

from __future__ import annotations

import pytest

from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.settings import as_markdown, every_setting
from tests.support.commands import Cli


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


def test_the_markdown_is_what_the_reference_includes(cli: Cli) -> None:
    """``aoi settings --markdown`` prints the table from which the reference page is made."""
    ran = cli("settings", "--markdown")
    assert (ran.code, ran.out) == (0, as_markdown(list(every_setting())))
