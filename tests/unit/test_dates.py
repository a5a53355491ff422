"""No test fixes a date that a running clock could meet: it would fail on some later day."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
THE_ONE = TESTS / "instant.py"
CLOCKS_RUN = ("acceptance", "integration")
"""Folders whose tests meet the machine's clock; no fixed instant may be imported there."""
NO_CLOCK = {
    "unit/channels/test_webhook_signing.py": "the published example of Standard Webhooks",
    "integration/store/test_postgresql.py": "a store gets every time as an argument",
}
"""Modules that may do it, each with its reason."""
FIXED = {"INSTANT", "EPOCH", "NOW"}
"""Names under which test modules hand the one instant on."""
_DATE = re.compile(r"20\d\d-[01]\d-[0-3]\d")
_SECONDS = range(1_500_000_000, 2_000_000_000)
"""Seconds since 1970 that are some day between 2017 and 2033."""


def dates(source: str) -> Iterator[str]:
    """The dates that a module writes down: constructors, ISO 8601 text, seconds since 1970."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="datetime" | "date") | ast.Attribute(attr="datetime" | "date"),
                args=[ast.Constant(value=int(year)), *_],
            ) if 2000 < year < 2100:
                yield f"line {node.lineno}: the year {year}"
            case ast.Constant(value=str(text)) if _DATE.match(text):
                yield f"line {node.lineno}: {text}"
            case ast.Constant(value=int(number)) if number in _SECONDS:
                yield f"line {node.lineno}: {number} seconds since 1970"


def fixed_imports(source: str) -> Iterator[str]:
    """The fixed instants that a module imports from another one of the tests."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            for name in node.names:
                if name.name in FIXED:
                    yield f"line {node.lineno}: {name.name} of {node.module}"


def modules(*folders: str) -> list[Path]:
    """The modules below these folders of the tests, without those that others wrote."""
    files = (file for folder in folders for file in sorted((TESTS / folder).rglob("*.py")))
    return [
        file
        for file in files
        if "node_modules" not in file.parts and file.relative_to(TESTS).as_posix() not in NO_CLOCK
    ]


def test_one_date_is_written_down() -> None:
    """Dates of tests come from a clock or from tests/instant.py."""
    found = [
        f"{file.relative_to(TESTS)}, {date}"
        for file in modules(".")
        if file not in (THE_ONE, Path(__file__))
        for date in dates(file.read_text(encoding="utf-8"))
    ]
    assert not found, f"take it from the test's clock, or from tests/instant.py: {found}"
    assert list(dates(THE_ONE.read_text(encoding="utf-8")))


def test_the_fixed_instant_meets_no_running_clock() -> None:
    """Tests of whole processes and of integrated parts take their times from clocks."""
    found = [
        f"{file.relative_to(TESTS)}, {name}"
        for file in modules(*CLOCKS_RUN)
        for name in fixed_imports(file.read_text(encoding="utf-8"))
    ]
    assert not found, f"take the time from the test's clock: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "NOW = datetime(2030, 1, 1, tzinfo=UTC)",
        "import datetime\nDAY = datetime.date(2030, 1, 1)",
        "item = {'expires_at': '2030-01-01T12:00:00Z'}",
        "claims = {'exp': 1900000000}",
    ],
)
def test_a_planted_date_is_caught(line: str) -> None:
    """Each way to write a date down is noticed."""
    assert list(dates(line))


@pytest.mark.parametrize(
    "line",
    ["from tests.instant import INSTANT", "from tests.conformance.store.rows import NOW"],
)
def test_a_planted_import_is_caught(line: str) -> None:
    """An instant that comes by way of another module of the tests is noticed."""
    assert list(fixed_imports(line))
