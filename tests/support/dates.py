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

from tests.support.pages import blocks_of

INSTANT: Final = "tests/support/instant.py"

_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_MMDD: Final = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_HHMM: Final = r"[0-2]\d[0-5]\d"
_DATE: Final = re.compile(
    r"\b20[1-9]\d-[01]\d-[0-3]\d"  # ISO 8601
    rf"|\b20\d\d{_MMDD}T\d"  # ISO 8601, compact
    rf"|\b[0-3]?\d[- ]{_MONTH}[- ]\d\d(?:\d\d)?\b"  # HTTP
    rf"|\b{_MONTH} +\d\d?,? (?:[\d:]+ )?\d{{4}}\b"  # asctime
    rf"|\b\d\d{_MMDD}{_HHMM}[0-5]\d\d[0-4]\d[+-]"  # SMPP, absolute
    r"|\b1[5-9]\d{8}(?:\d{3})?\b"  # seconds or milliseconds since 1970, 2017 to 2033
)
_NUMBER: Final = re.compile(
    rf"{_DATE.pattern}"
    r"|\b(?:[1-3]\d|40)\d{8}(?:\d{3})?\b"  # seconds or milliseconds since 1970, 2001 to 2099
    rf"|\b(?:20)?\d\d{_MMDD}{_HHMM}(?:[0-5]\d)?\b"  # in the text of an SMSC's receipt
    rf"|\b20\d\d{_MMDD}\b"
)
"""Beside dates, numbers that may as well be sizes or IDs: dates where ``_TIME`` is on the line."""
_TIME: Final = re.compile(
    r"(?<![a-z])(?:at|date|deadline|epoch|exp|expir[a-z]*|iat|nbf|now|since|time|timestamp|until)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_YEARS: Final = range(2000, 2100)
_CLASSES: Final = {"datetime.date", "datetime.datetime"}
_CONVERSIONS: Final = {
    *(f"{each}.{name}" for each in _CLASSES for name in ("fromisoformat", "fromtimestamp")),
    "datetime.datetime.strptime",
    "time.strptime",
}
_READS: Final = {
    "datetime.date.today",
    *(f"datetime.datetime.{name}" for name in ("now", "today", "utcnow")),
    *(f"time.{name}" for name in ("ctime", "gmtime", "localtime", "time", "time_ns")),
}
_RUNNING: Final = {"MovableClock", "SystemClock"}
_FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def written_dates(name: str, source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each date in a file; in a page, of each in its code blocks."""
    if name.endswith(".md"):
        for block in blocks_of(name, source):
            for line, text in written_dates(f"block.{block.language}", block.code):
                yield block.line + line, text
    elif name.endswith((".py", ".python")):
        yield from _Python(source).dates()
    else:
        for number, words in enumerate(source.splitlines(), 1):
            yield from ((number, text) for text in _found(words, words))


def clock_reads(source: str, *, on_import: bool = False) -> Iterator[tuple[int, str]]:
    """Where a module reads the machine's clock; with ``on_import`` only what its import reads.

    What the import reads has passed when the test runs, by as long as the run has taken.
    """
    python = _Python(source)
    for node in _on_import(python.tree) if on_import else ast.walk(python.tree):
        name = python.full_name(node)
        running = not on_import and name.rpartition(".")[2] in _RUNNING
        if isinstance(node, ast.expr) and (running or name in _READS):
            yield node.lineno, ast.unparse(node)


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


class _Python:
    """A module, and what the names that it imports stand for: ``dt`` for ``datetime.datetime``."""

    def __init__(self, source: str) -> None:
        self.tree = _parsed(source)
        self._lines = source.split("\n")
        self._names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    self._names |= {each.asname or each.name: each.name for each in names}
                case ast.ImportFrom(module=str(module), names=names):
                    self._names |= {e.asname or e.name: f"{module}.{e.name}" for e in names}
                case _:
                    continue

    def full_name(self, node: ast.AST) -> str:
        """What an expression refers to through the imports; empty where it refers to none."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name, "")
            case ast.Attribute(value=of, attr=attr) if name := self.full_name(of):
                return f"{name}.{attr}"
            case _:
                return ""

    def dates(self, node: ast.AST | None = None) -> Iterator[tuple[int, str]]:
        """The line and the text of each date, once: a call is reported as a whole."""
        match node:
            case ast.Call(args=[ast.Constant(value=first), *_]) if self._is_date(node, first):
                yield node.lineno, ast.unparse(node)
                return
            case ast.keyword(arg="year", value=ast.Constant(value=year)) if year in _YEARS:
                yield node.lineno, ast.unparse(node)
            case ast.Constant(value=str() | bytes() | float() | int() as value):
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                text = text if isinstance(text, str) else f"{text:.0f}"
                found = _found(text, self._lines[node.lineno - 1])
                yield from ((node.lineno, each) for each in found)
            case ast.UnaryOp(op=ast.USub()):
                return
            case _:
                pass
        for child in ast.iter_child_nodes(node or self.tree):
            yield from self.dates(child)

    def _is_date(self, call: ast.Call, first: object) -> bool:
        name = self.full_name(call.func)
        replaces = isinstance(call.func, ast.Attribute) and call.func.attr == "replace"
        return name in _CONVERSIONS or ((replaces or name in _CLASSES) and first in _YEARS)


def _found(text: str, around: str) -> Iterator[str]:
    """The dates in a text, which is in this line of the source."""
    for line in text.splitlines():
        pattern = _NUMBER if _TIME.search(line) or _TIME.search(around) else _DATE
        yield from (each[0] for each in pattern.finditer(re.sub(r"(?<=\d)_(?=\d)", "", line)))


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
