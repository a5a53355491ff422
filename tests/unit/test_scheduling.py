"""What pytest-xdist keeps together."""

from __future__ import annotations

from pathlib import Path

from tests.scheduling import ALONE, GROUPS, group_of

ROOT = Path(__file__).parents[2]


def test_every_group_is_of_tests_that_there_are() -> None:
    """A file or folder that was renamed does not fall out of its group unseen."""
    assert [start for start in GROUPS if not (ROOT / start).exists()] == []


def test_a_test_is_in_the_group_of_its_file_or_folder() -> None:
    """By the beginning of its ID; all others may run anywhere."""
    assert group_of("tests/acceptance/browser/test_firefox.py::test_it[x]") == ALONE
    assert group_of("tests/acceptance/test_restarts.py::test_it") == ALONE
    assert group_of("tests/acceptance/test_demo.py::test_it") is None
