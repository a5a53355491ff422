"""Finds what makes a test depend on the day: written dates, and clocks that stop and run at once.

Each finding says the file, the line and what was found; tests/unit/test_dates.py knows the rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

INSTANT: Final = "tests/support/instant.py"

_TEXT: Final = re.compile(
    r"\b20[1-9]\d-[01]\d-[0-3]\d"  # ISO 8601
    r"|\b[0-3]?\d[- ](?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[- ]\d\d(?:\d\d)?\b"
    r"|(?<= date:)\d{10}"  # in the text of an SMSC's receipt
    r"|\b1[5-9]\d{8}(?:\d{3})?\b"  # seconds or milliseconds since 1970, 2017 to 2033
)
_READS: Final = {
    "date": {"today"},
    "datetime": {"now", "today", "utcnow"},
    "time": {"ctime", "gmtime", "localtime", "time", "time_ns"},
}
_RUNNING: Final = {"MovableClock", "SystemClock"}
_FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def written_dates(name: str, source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each date in a file."""
    if not name.endswith(".py"):
        for number, line in enumerate(source.splitlines(), 1):
            yield from ((number, found[0]) for found in _TEXT.finditer(line))
        return
    for node in ast.walk(_parsed(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="date" | "datetime") | ast.Attribute(attr="date" | "datetime"),
                args=[ast.Constant(value=int(year)), *_],
            ) if 2000 <= year < 2100:
                yield node.lineno, ast.unparse(node)
            case ast.Constant(value=str(text)):
                yield from ((node.lineno, found[0]) for found in _TEXT.finditer(text))
            case ast.Constant(value=bytes(octets)):
                text = octets.decode("latin-1")
                yield from ((node.lineno, found[0]) for found in _TEXT.finditer(text))
            case ast.Constant(value=int() | float() as seconds):
                yield from ((node.lineno, found[0]) for found in _TEXT.finditer(f"{seconds:.0f}"))
            case _:
                continue


def clock_reads(source: str, *, on_import: bool = False) -> Iterator[tuple[int, str]]:
    """Where a module reads the machine's clock; with ``on_import`` only what its import reads.

    What the import reads has passed when the test runs, by as long as the run has taken.
    """
    for node in _on_import(_parsed(source)) if on_import else ast.walk(_parsed(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=of) | ast.Attribute(attr=of), attr=attr):
                if attr in _READS.get(of, ()):
                    yield node.lineno, f"{of}.{attr}"
            case ast.ImportFrom(module="time", names=names):
                yield from ((node.lineno, n.name) for n in names if n.name in _READS["time"])
            case ast.Name(id=name) if name in _RUNNING and not on_import:
                yield node.lineno, name


def imported(root: Path, file: Path) -> Iterator[str]:
    """The modules of the tests that a file of theirs needs: imports, and each conftest above it."""
    found = {folder / "conftest.py" for folder in file.parents if folder.is_relative_to(root)}
    for node in ast.walk(_parsed(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {_module(root, name.name) for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                found |= {_module(root, module)}
                found |= {_module(root, f"{module}.{name.name}") for name in names}
            case _:
                continue
    yield from (str(each.relative_to(root)) for each in found if each != file and each.is_file())


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _module(root: Path, name: str) -> Path:
    return root.joinpath(*name.split(".")).with_suffix(".py")


def _on_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTION):
            parts = [child.args, *getattr(child, "decorator_list", ())]
        else:
            parts = [child]
            yield child
        for part in parts:
            yield from _on_import(part)
