"""Logs are structured: an event has a name, and all else of it are fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "aoi_events"
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


def logged(source: str) -> Iterator[list[ast.expr]]:
    """The positional arguments of each call of a module's logger."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("log", "_log")
        ):
            yield node.args


def named(arguments: list[ast.expr]) -> bool:
    """Whether an event is named by a word that machines can look for, or by a constant."""
    match arguments:
        case [ast.Constant(value=str(name))]:
            return re.fullmatch(r"[a-z]+(_[a-z]+)*", name) is not None
        case [ast.Name()]:
            return True
        case _:
            return False


def test_events_are_named() -> None:
    """Issue, 5: nobody has to take a sentence apart, and no template is left unfilled."""
    calls = [
        (file.relative_to(PACKAGE).as_posix(), ast.unparse(ast.List(arguments)))
        for file in PACKAGE.rglob("*.py")
        for arguments in logged(file.read_text())
        if not named(arguments)
    ]
    assert calls == []


def test_a_template_is_noticed() -> None:
    """The rule catches what it is for."""
    found = logged("log.warning('attempt %d failed', 3)\nlog.info('two words')\nlog.info('fine')")
    assert [named(arguments) for arguments in found] == [False, False, True]
