"""What others may rely on changes only on purpose."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import unified_diff
from importlib import import_module

import pytest

from tests.public_api import FILE, MODULES, text
from tests.support.pages import ROOT, blocks, pages

EXAMPLES = {
    **{
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
        for project in ("sample_project", "own_channel")
        for file in sorted((ROOT / "tests" / project).rglob("*.py"))
    },
    **{
        f"{each.page} {number}": each.code
        for page in pages()
        for number, each in enumerate(blocks(page, "python"), 1)
    },
}
"""The programs that show how to use the package."""


def test_nothing_public_changes_unnoticed() -> None:
    """The committed list of the public API is that of the code."""
    listed, found = FILE.read_text(encoding="utf-8"), text()
    changes = "\n".join(unified_diff(listed.splitlines(), found.splitlines(), lineterm="", n=0))
    assert not changes, (
        f"the public API changed:\n{changes}\n"
        "if that is meant, name it in CHANGELOG.md and run `python -m tests.public_api`"
    )


def imported(source: str) -> Iterator[str]:
    """The names of this package that a program imports, each with its module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("aoi_events"):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("aoi_events"))


PUBLIC = {
    *MODULES,
    *(f"{module}.{name}" for module in MODULES for name in import_module(module).__all__),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_import_public_names_only(example: str) -> None:
    """Sample project, own channel and documentation import what the list of the API has."""
    assert [name for name in imported(EXAMPLES[example]) if name not in PUBLIC] == []
