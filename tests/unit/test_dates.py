"""No date decides whether a test passes.

A date that is written down meets the machine's clock some day, and the test fails from then on. So
tests take their times from a clock: the machine's, or one that stands still at the instant of
tests/support/instant.py. Each rule is tested on the project and on planted violations; what counts
as a date is tested in test_written_dates.py.
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
    **dict.fromkeys(
        (
            ("tests/unit/channels/test_webhook_signing.py", text)
            for text in ("datetime.fromtimestamp(1614265330, UTC)", "1614265330", "2432232314")
        ),
        "a published vector",
    ),
    (
        "tests/benchmarks/channels/playing.py",
        "datetime(2026, 1, 1, tzinfo=UTC)",
    ): "where virtual time starts",
    ("docs/how-to/publish-amqp.md", "2026-11-23"): "an example to read; no test plays it",
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

PLANTED_HERE = {"tests/unit/test_dates.py", "tests/unit/test_written_dates.py"}


def files(root: Path) -> list[Path]:
    """Everything that makes tests what they are, and that we write ourselves."""
    folders = [root / name for name in ("tests", "compose", "aoi_events/testing")]
    found = [root / "README.md", *(root / "docs").rglob("*.md")]
    found += [file for each in folders for file in each.rglob("*")]
    return [
        file
        for file in found
        if file.is_file()
        and file.suffix not in {".lock", ".pyc", ".svg"}
        and file.name not in {"package-lock.json", ".package-lock.json"}
        and not {"node_modules", "__pycache__"} & set(file.parts)
        and str(file.relative_to(root)) not in PLANTED_HERE
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
    "Python": ("tests/unit/test_it.py", "SAMPLE = '2031-01-02'", "1: 2031-01-02 is a fixed date"),
    "JSON": ("tests/unit/sample.json", '{\n "at": "2031-01-02T03:04:05Z"}', "2: 2031-01-02"),
    "JavaScript": ("tests/acceptance/send.js", "const exp = 2_000_000_000;", "1: 2000000000"),
    "a page": ("docs/tutorial.md", "```text\n2031-01-02\n```", "2: 2031-01-02"),
    "a page below": ("docs/how-to/it.md", "```text\n2031-01-02\n```", "2: 2031-01-02"),
    "on import": (
        "tests/unit/test_it.py",
        "import time as t\nNOW = t.time()",
        "2: t.time is read on import: read it in the test",
    ),
    "an integration test": (
        "tests/integration/test_it.py",
        "from tests.support.instant import INSTANT",
        " meets tests/support/instant.py: take",
    ),
    "through another module": (
        "tests/acceptance/test_it.py",
        "from tests.unit import samples",
        " meets tests/support/instant.py: take",
    ),
    "through a conftest": (
        "tests/conformance/store/test_it.py",
        "import time\ndef f(): time.time()",
        "2: time.time beside",
    ),
    "two clocks": (
        "tests/unit/test_it.py",
        "from tests.support.instant import INSTANT\nimport time as t\ndef f(): t.time()",
        "3: t.time beside tests/support/instant.py: use one clock",
    ),
    "a clock of ours": (
        "tests/unit/test_it.py",
        "from tests.unit import samples\nfrom aoi_events import SystemClock as Clock\nClock()",
        "3: Clock beside tests/support/instant.py: use one clock",
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
        "README.md": "Measured on 2031-01-02.",
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
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    found = violations(project)
    assert [each for each in found if each.startswith(f"{name}:{said}")], found
