"""The check of commit messages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.limits import WITHIN

CHECK = Path(__file__).parents[2] / ".ci" / "commits"


def checked(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the check."""
    return subprocess.run(  # noqa: S603 - our own program
        [CHECK, *arguments], capture_output=True, text=True, timeout=WITHIN, check=False
    )


def test_every_commit_names_its_area() -> None:
    """The commits of this checkout follow the convention."""
    ran = checked()
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "message, fault",
    [
        ("Said of receipts as it is", 'does not begin with "area: "'),
        ("Store: keep costs in a column", 'does not begin with "area: "'),
        ("store:keep costs in a column", 'does not begin with "area: "'),
        ("store: keep costs in a column.", "ends with a full stop"),
        ("store: " + "x" * 66, "has 73 characters, and 72 are allowed"),
    ],
)
def test_a_subject_that_breaks_a_rule_is_refused(message: str, fault: str, tmp_path: Path) -> None:
    """Each rule refuses a subject that breaks it, and says which rule that was."""
    file = tmp_path / "message"
    file.write_text(message + "\n\nWhy.\n")
    ran = checked(file)
    assert ran.returncode == 1
    assert fault in ran.stderr


@pytest.mark.parametrize(
    "message", ["store: keep costs in a column", "ci, tests: run once", "store: " + "x" * 65]
)
def test_a_subject_that_follows_the_rules_is_accepted(message: str, tmp_path: Path) -> None:
    """An area, a colon and at most 72 characters are enough."""
    file = tmp_path / "message"
    file.write_text(f"# a comment of git's\n{message}\n")
    assert checked(file).returncode == 0
