"""Pages that are written by hand say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from aoi_events.bootstrap.opening import WORKERS
from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.contracts.answers import ANSWERS
from aoi_events.contracts.events import EVENT_KINDS
from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import DOCUMENTATION
from tests.support.pages import ROOT, pages, text_of

MAX_README = 10_240
SITE = "https://github.com/aoi-events/aoi-events/blob/main/"
RAW = "https://raw.githubusercontent.com/aoi-events/aoi-events/main/"


def first_cells(page: str, start: str) -> list[str]:
    """What stands in backquotes in the first cell of the rows after ``start``."""
    table = text_of(page).partition(start)[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_the_readme_is_short() -> None:
    """It has at most 10 KB."""
    assert len((ROOT / "README.md").read_bytes()) <= MAX_README


def test_links_of_the_readme_are_absolute_and_lead_to_files() -> None:
    """So it renders on a package index, and each file that it links is in the repository."""
    links = re.findall(r"\]\(([^)\s]+)\)", text_of("README.md"))
    assert len(links) > 20
    for link in links:
        base = RAW if link.startswith(RAW) else SITE
        assert link.startswith(base), link
        name = link.removeprefix(base).partition("#")[0]
        assert (ROOT / name).is_file(), link


def test_the_diagrams_are_current(tmp_path: Path) -> None:
    """What docs/diagrams.py draws is what is committed, and it draws what the pages show."""
    code = f"import diagrams, pathlib; diagrams.write(pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs", check=True, timeout=60)  # noqa: S603
    drawn = {file.name: file.read_text() for file in tmp_path.iterdir()}
    static = ROOT / "docs" / "_static"
    assert drawn == {file.name: file.read_text() for file in static.glob("*.svg")}
    shown = {
        name for page in pages() for name in re.findall(r"_static/([\w-]+\.svg)", text_of(page))
    }
    assert shown == set(drawn)


def test_every_process_has_its_row_and_its_folder() -> None:
    """The table of workers has each launcher, and folders that exist."""
    page = "docs/reference/workers.md"
    launchers = {f"workers/{file.name}" for file in (ROOT / "workers").glob("[a-z]*.py")}
    assert set(first_cells(page, "publishes |\n")) == launchers
    channels = {"sms", "webhook", "webpush"}
    assert channels <= set(installed_plugins())
    assert launchers == {f"workers/{name}.py" for name in {*WORKERS, *channels}}


def test_every_folder_of_the_package_has_a_row() -> None:
    """The architecture page says what each folder and module of the package is for."""
    page, package = "docs/explanation/architecture.md", ROOT / "aoi_events"
    modules = {each.name for each in package.glob("[a-z]*.py")}
    parts = modules | {each.parent.name for each in package.glob("[a-z]*/*.py")}
    rows = re.findall(r"^\| `aoi_events/.*", text_of(page), re.MULTILINE)
    named = re.findall(r"`aoi_events/([\w.]+)/?`", "\n".join(rows))
    assert sorted(named) == sorted(parts)


def test_every_stage_of_the_diagram_has_a_row() -> None:
    """The table below the sequence diagram explains each numbered arrow of it, and no other."""
    page = text_of("docs/explanation/life-of-a-notification.md")
    svg = (ROOT / "docs" / "_static" / "life-of-a-notification.svg").read_text()
    drawn = {int(number) for number in re.findall(r">(\d+) [^<]+</text>", svg)}
    cells = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    explained = {int(number) for cell in cells for number in cell.split(",")}
    assert explained == drawn == set(range(1, len(drawn) + 1))


def test_every_kind_of_event_is_explained() -> None:
    """The hand-written table has exactly the kinds that there are, in their order."""
    assert tuple(first_cells("docs/reference/events.md", "data |\n")) == EVENT_KINDS


def test_every_request_has_its_answer() -> None:
    """The table of requests has exactly the routing keys that there are, and real answers."""
    page = "docs/reference/requests.md"
    assert first_cells(page, "answer |\n") == list(REQUESTS)
    answers = re.findall(r"^\| `[^`]+` \| [^|]+ \| `([^`]+)` \|", text_of(page), re.MULTILINE)
    assert len(answers) == len(REQUESTS)
    assert set(answers) | {"refused.v1"} == set(ANSWERS)


def test_anchors_of_troubleshooting_are_words_of_the_program() -> None:
    """Each is an error code, a log event, or is named by a message that leads to it."""
    page = "docs/operations/troubleshooting.md"
    anchors = set(re.findall(r"^\((\w+)\)=$", text_of(page), re.MULTILINE))
    sources = [file.read_text() for file in (ROOT / "aoi_events").rglob("*.py")]
    for anchor in anchors:
        named = (f'"{anchor}"', f"troubleshooting.md#{anchor}")
        assert any(name in source for source in sources for name in named), anchor


def test_what_messages_name_is_an_anchor() -> None:
    """Every page and anchor that the program's texts name exists, and has its whole address."""
    texts = [file.read_text() for file in (ROOT / "aoi_events").rglob("*.py")]
    found = [
        match
        for text in texts
        for match in re.findall(r"\{DOCUMENTATION\}/([\w/-]+\.md)#([\w-]+)", text)
    ]
    assert found
    assert DOCUMENTATION.startswith(SITE)
    folder = DOCUMENTATION.removeprefix(SITE)
    for page, anchor in found:
        assert f"({anchor})=\n" in text_of(f"{folder}/{page}"), (page, anchor)
    assert not [match for text in texts for match in re.findall(r"[( ]docs/[\w/-]+\.md#", text)]
