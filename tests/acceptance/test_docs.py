"""The documentation is built as ``make docs`` does it, and what comes out is whole."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from aoi_events.cli.app import COMMANDS
from aoi_events.cli.settings import every_setting
from aoi_events.contracts.events import EVENT_KINDS
from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import ErrorCode
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.telemetry.catalogue import CATALOGUE
from tests.public_api import MODULES
from tests.support.commands import environment
from tests.support.limits import WITHIN
from tests.support.pages import ROOT

LOADING = {
    "embed": "src", "iframe": "src", "img": "src", "link": "href", "object": "data",
    "script": "src", "source": "src", "use": "href",
}  # fmt: skip
"""Tag → the attribute that names what a browser loads for it."""

WITHOUT_NETWORK = """
import runpy, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"the build used the network: {event} {arguments}")

sys.addaudithook(refuse)
runpy.run_module("sphinx", run_name="__main__", alter_sys=True)
"""


class Page(HTMLParser):
    """The anchors of an HTML page, its links, and the files that it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links, self.loads = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the names in one tag."""
        named = {name: value or "" for name, value in attrs}
        self.anchors.update(named[name] for name in ("id", "name") if name in named)
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag in LOADING and LOADING[tag] in named:
            self.loads.append(named[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with the command of the Makefile, by a process that may not use a network."""
    folder = tmp_path_factory.mktemp("site")
    makefile = (ROOT / "Makefile").read_text()
    (options,) = re.findall(r"^\t\$\(BIN\)/python -m sphinx (.*)$", makefile, re.MULTILINE)
    assert {"-W", "-n"} <= set(options.split())
    arguments = options.replace("docs/_build", str(folder)).split()
    done = subprocess.run(  # noqa: S603 - the Makefile's own command
        [sys.executable, "-c", WITHOUT_NETWORK, *arguments],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        timeout=2 * WITHIN,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    """Every HTML page of the site."""
    return {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_every_internal_link_leads_somewhere(built: dict[Path, Page]) -> None:
    """The file of each link exists, and the anchor in it."""

    def broken() -> Iterator[str]:
        for file, page in built.items():
            for link in page.links:
                target, anchor = urldefrag(link)
                if re.match(r"[a-z]+:", target):
                    continue
                other = (file.parent / unquote(target)).resolve() if target else file
                missing = anchor and other in built and unquote(anchor) not in built[other].anchors
                if not other.exists() or missing:
                    yield f"{file.name}: {link}"

    assert len(built) > 40
    assert list(broken()) == []


def test_no_page_loads_anything_from_outside(site: Path, built: dict[Path, Page]) -> None:
    """Scripts, styles and pictures are files of the site, and styles load nothing else."""
    for file, page in built.items():
        for loaded in page.loads:
            assert not re.match(r"([a-z]+:)?//", loaded), (file, loaded)
            if not loaded.startswith(("#", "data:")):
                assert (file.parent / loaded.partition("?")[0]).exists(), (file, loaded)
    for style in site.rglob("*.css"):
        used = re.findall(r"@import|url\(\s*[\"']?(?!data:|[\"'])[^)]*", style.read_text())
        assert [each for each in used if "//" in each or "@import" in each] == [], style


def test_the_reference_is_that_of_the_code(site: Path) -> None:
    """Each setting, metric, code, command, event, request and public name is on its page."""
    expected: dict[str, Iterable[str]] = {
        "settings": [each.variable for each in every_setting()],
        "metrics": [each.name for each in CATALOGUE],
        "error-codes": [*ErrorCode, *map(str, ExitCode)],
        "commands": [f"aoi {name}" for name in COMMANDS],
        "events": list(EVENT_KINDS),
        "requests": list(REQUESTS),
        "python-api": {name for module in MODULES for name in import_module(module).__all__},
    }
    for page, names in expected.items():
        text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
        assert [name for name in names if f">{name}<" not in text] == []
