"""No date decides whether a test passes.

A date that is written down meets the machine's clock some day, and the test fails from then on. So
tests take their times from a clock: the machine's, or one that stands still at the instant of
tests/support/instant.py. Each rule is tested on the project and on planted violations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.dates import INSTANT, clock_reads, imported, written_dates

ROOT = Path(__file__).parents[2]

WRITTEN: Final[Mapping[tuple[str, str], str]] = {
    (INSTANT, "datetime(2026, 1, 1, 12, tzinfo=UTC)"): "the instant of clocks that stand still",
    ("aoi_events/testing/stopped_clock.py", "datetime(2026, 1, 1, tzinfo=UTC)"): "where one starts",
    ("tests/unit/channels/test_webhook_signing.py", "1614265330"): "a published vector",
    (
        "tests/benchmarks/channels/playing.py",
        "datetime(2026, 1, 1, tzinfo=UTC)",
    ): "where virtual time starts",
    ("docs/how-to/publish-amqp.md", "2026-11-23"): "an example to read; no test plays it",
    ("docs/how-to/size-an-installation.md", "2026-11-23"): "when something was measured",
}
"""Dates that may be written, each with the reason why no clock runs beside it."""

STANDS_STILL: Final[Mapping[str, str]] = {
    INSTANT: "it is there",
    "tests/support/strategies.py": "values for decisions, which get each time as an argument",
    "tests/support/histories.py": "as above",
    "tests/support/rows.py": "as above",
    "tests/unit/": "decisions and records, as above",
    "tests/conformance/store/": "a store has no clock: each time is an argument",
    "tests/integration/store/": "as above",
    "tests/integration/services/test_what_ends.py": "as above",
    **dict.fromkeys(
        (
            f"tests/integration/services/test_{name}.py"
            for name in (
                "acknowledged_receipts",
                "backlog",
                "expiring",
                "given_up_proofs",
                "late_receipts",
                "registry",
                "submissions",
            )
        ),
        "their one clock stands still at the instant, or each time is an argument",
    ),
    "tests/benchmarks/store/": "as above",
}
"""Where the instant may be used, with what is imported there; no other tests meet it."""

PLANTED_HERE = "tests/unit/test_dates.py"


def files(root: Path) -> list[Path]:
    """Everything that makes tests what they are, and that we write ourselves."""
    names = ("tests", "compose", "aoi_events/testing", "docs/how-to")
    folders = [root / name for name in names]
    found = [root / "README.md", *(file for each in folders for file in each.rglob("*"))]
    return [
        file
        for file in found
        if file.is_file()
        and file.suffix not in {".lock", ".pyc", ".svg"}
        and file.name not in {"package-lock.json", ".package-lock.json"}
        and not {"node_modules", "__pycache__"} & set(file.parts)
        and str(file.relative_to(root)) != PLANTED_HERE
    ]


def dates(root: Path) -> Iterator[tuple[str, int, str]]:
    """The file, the line and the text of each date."""
    for file in files(root):
        name = str(file.relative_to(root))
        for line, text in written_dates(name, file.read_text(encoding="utf-8", errors="replace")):
            yield name, line, text


def modules(root: Path) -> dict[str, str]:
    """Each module of the tests, and its source."""
    found = [file for file in files(root) if file.suffix == ".py"]
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in found}


def that_meet_the_instant(root: Path) -> set[str]:
    """The modules of the tests that import it, or that import such a module."""
    needs = {name: set(imported(root, root / name)) for name in modules(root)}
    found = {INSTANT}
    while more := {name for name, needed in needs.items() if needed & found} - found:
        found |= more
    return found


def violations(root: Path) -> list[str]:
    """Every place where a date could decide, and what to do about it."""
    found = [
        f"{file}:{line}: {text} is a fixed date: take the time from the test's clock"
        for file, line, text in dates(root)
        if (file, text) not in WRITTEN
    ]
    meet = that_meet_the_instant(root)
    for file, source in modules(root).items():
        for line, text in clock_reads(source, on_import=True):
            found.append(f"{file}:{line}: {text} is read on import: read it in the test")
        if file not in meet:
            continue
        if not file.startswith(tuple(STANDS_STILL)):
            found.append(f"{file}: meets {INSTANT}: take the time from the machine's clock")
        for line, text in clock_reads(source):
            found.append(f"{file}:{line}: {text} beside {INSTANT}: use one clock")
    return found


def test_no_date_decides() -> None:
    """No date is written but those listed, and no test has both a clock that runs and one that
    stands still.
    """
    assert violations(ROOT) == []


def test_every_listed_date_and_place_is_there() -> None:
    """An exception that nothing needs any more goes from the list."""
    assert {(file, text) for file, _, text in dates(ROOT)} >= set(WRITTEN)
    meet = that_meet_the_instant(ROOT)
    assert [place for place in STANDS_STILL if not any(f.startswith(place) for f in meet)] == []


PLANTED = {
    "datetime": ("unit/test_it.py", "from datetime import *\nat = datetime(2031, 1, 2)", "2: date"),
    "date": ("unit/test_it.py", "import datetime\nat = datetime.date(2031, 1, 2)", "2: datetime.d"),
    "ISO text": ("unit/test_it.py", "FRAME = {'expires_at': '2031-01-02T03:04:05Z'}", "1: 2031-01"),
    "octets": ("unit/test_it.py", 'FRAME = b\'{"at": "2031-01-02"}\'', "1: 2031-01-02"),
    "inside an f-string": ("unit/test_it.py", "n = 1\nat = f'{n} 2031-01-02'", "2: 2031-01-02"),
    "HTTP": ("unit/test_it.py", "AT = 'Thu, 02 Jan 2031 03:04:05 GMT'", "1: 02 Jan 2031"),
    "RFC 850": ("unit/test_it.py", "AT = 'Thursday, 02-Jan-31 03:04:05 GMT'", "1: 02-Jan-31"),
    "seconds": ("unit/test_it.py", "CLAIMS = {'exp': 1_925_000_000}", "1: 1925000000"),
    "milliseconds": ("unit/test_it.py", "AT = 1_925_000_000_000", "1: 1925000000000"),
    "a receipt": ("unit/test_it.py", "TEXT = b'id:1 done date:3101020304'", "1: 3101020304"),
    "JSON": ("unit/sample.json", '{\n "at": "2031-01-02T03:04:05Z"}', "2: 2031-01-02"),
    "JavaScript": ("acceptance/send.js", "const exp = 1925000000;", "1: 1925000000"),
    "on import": ("unit/test_it.py", "import time\nNOW = time.time()", "2: time.time is read on"),
    "in a default": ("unit/test_it.py", "def f(at=datetime.now(UTC)): pass", "1: datetime.now is"),
    "in a decorator": ("unit/test_it.py", "@p(date.today())\ndef f(): pass", "1: date.today is"),
    "an integration test": (
        "integration/test_it.py",
        "from tests.support.instant import INSTANT",
        " meets tests/support/instant.py: take",
    ),
    "through another module": (
        "acceptance/test_it.py",
        "from tests.unit import samples",
        " meets tests/support/instant.py: take",
    ),
    "through a conftest": ("conformance/store/test_it.py", "import time\ntime.time()", "2: time.t"),
    "two clocks": (
        "unit/test_it.py",
        "from tests.support.instant import INSTANT\ndef f(): return datetime.now(UTC) - INSTANT",
        "2: datetime.now beside tests/support/instant.py: use one clock",
    ),
    "a clock of ours": (
        "unit/test_it.py",
        "from tests.support.instant import INSTANT\ndef f(): SystemClock()",
        "2: SystemClock beside tests/support/instant.py: use one clock",
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a violation."""
    sources = {
        "tests/support/instant.py": "INSTANT = datetime(2026, 1, 1, 12, tzinfo=UTC)",
        "tests/unit/samples.py": "from tests.support.instant import INSTANT",
        "tests/conformance/store/conftest.py": "from tests.support.instant import INSTANT",
        "tests/integration/test_other.py": "import time\ndef f(): return time.time() + 3_600",
        "tests/integration/package-lock.json": '"2031-01-02"',
        "README.md": "Nothing.",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_date_is_caught(what: str, project: Path) -> None:
    """Each kind of date and each way to two clocks is found, with its file and its line."""
    assert violations(project) == []
    name, source, said = PLANTED[what]
    file = project / "tests" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(source)
    found = violations(project)
    assert [each for each in found if each.startswith(f"tests/{name}:{said}")], found
