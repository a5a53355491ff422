"""What others may rely on changes only on purpose."""

from __future__ import annotations

from difflib import unified_diff

from tests.public_api import FILE, text


def test_nothing_public_changes_unnoticed() -> None:
    """The committed list of the public API is that of the code."""
    listed, found = FILE.read_text(encoding="utf-8"), text()
    changes = "\n".join(unified_diff(listed.splitlines(), found.splitlines(), lineterm="", n=0))
    assert not changes, (
        f"the public API changed:\n{changes}\n"
        "if that is meant, name it in CHANGELOG.md and run `python -m tests.public_api`"
    )
