"""The wheel as somebody else gets it: built, installed, and used by the tests of their project."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.acceptance.installed import closure, succeed
from tests.support.limits import WITHIN
from tests.support.pages import block

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "sample_project"
OWN_CHANNEL = ROOT / "tests" / "own_channel"


@dataclass(frozen=True)
class Project:
    """A copy of the sample project with an environment of its own, where the wheel is installed."""

    folder: Path
    python: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python there, where nothing of this repository can be imported."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AOI_", "PYTHON", "PYTEST", "VIRTUAL_ENV"))
        }
        return subprocess.run(  # noqa: S603 - our own program
            [self.python, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without network and without leftovers in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample project, and a new environment with the wheel in it and this checkout not.

    Dependencies are those that are installed here, as the lock file has them: seen through a path
    file, so that nothing is downloaded. The checkout's own editable install is not among them.
    """
    folder = tmp_path_factory.mktemp("sample") / "shop"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    place = folder.parent / "venv"
    succeed(sys.executable, "-m", "venv", "--without-pip", place)
    python = place / "bin" / "python"
    (packages,) = place.glob("lib/python*/site-packages")
    (ours,) = Path(sys.prefix).glob("lib/python*/site-packages")
    succeed(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index",
        "--no-deps", "--disable-pip-version-check", wheel,
    )  # fmt: skip
    for found in ours.iterdir():
        if "aoi_events" not in found.name and not (packages / found.name).exists():
            (packages / found.name).symlink_to(found)
    return Project(folder, python)


@pytest.fixture(scope="module")
def own_channel(project: Project) -> Project:
    """Somebody's channel plug-in, installed beside the wheel, with its tests."""
    folder = project.folder.parent / "own_channel"
    shutil.copytree(OWN_CHANNEL, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    succeed(
        sys.executable, "-m", "pip", "--python", project.python, "install", "--quiet",
        "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", folder,
    )  # fmt: skip
    return Project(folder, project.python)


def test_the_wheel_is_complete(wheel: Path) -> None:
    """Types, schemas, migrations, entry points, licence are in it; tests and launchers are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        entry_points = archive.read(entries).decode()
    assert "aoi_events/py.typed" in names
    assert "aoi_events/contracts/schema.json" in names
    assert any(name.startswith("aoi_events/store/migrations/versions/0001") for name in names)
    assert "aoi_events/store/migrations/env.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for line in (
        "aoi = aoi_events.cli.app:main",
        "aoi_events = aoi_events.testing.plugin",
        "websocket = aoi_events.channels.websocket:plugin",
        "sms = aoi_events.channels.sms:plugin",
    ):
        assert line in entry_points
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aoi_events"}
    assert not [name for name in names if "__pycache__" in name]


def test_every_module_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    """What is committed in the package is what people get."""
    tracked = subprocess.run(
        ["git", "ls-files", "aoi_events"],  # noqa: S607 - whichever git made the checkout
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=WITHIN,
    ).stdout.split()  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        missing = {name for name in tracked if (ROOT / name).exists()} - set(archive.namelist())
    assert not missing


def test_the_sample_project_passes_its_tests(project: Project) -> None:
    """Its tests run with the plug-in of the wheel, warnings as errors, and all pass."""
    assert passed(project) >= 10


def test_a_channel_of_ones_own_passes_the_suite(own_channel: Project) -> None:
    """A plug-in that is installed beside the wheel is found, passes the suite that ships, and ends
    at a person what a device misses; it is typed, and the documentation shows it as it is.
    """
    assert passed(own_channel) >= 20
    checked = own_channel.run("-m", "mypy", "--no-incremental", ".")
    assert checked.returncode == 0, checked.stdout
    source = (OWN_CHANNEL / "aoi_apprise.py").read_text()
    assert len(source.splitlines()) < 60
    assert source == block("docs/how-to/own-channel.md", "python")


def passed(project: Project) -> int:
    """How many tests the project has; all of them pass."""
    ran = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", "report.xml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = ElementTree.parse(project.folder / "report.xml").getroot()  # noqa: S314 - ours
    (suite,) = report.iter("testsuite")
    told = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert (told["failures"], told["errors"], told["skipped"]) == (0, 0, 0)
    return told["tests"]


def test_the_package_is_typed(project: Project) -> None:
    """By the wheel's own types, mypy --strict finds the sample right and planted errors wrong."""
    planted = project.folder / "planted.py"
    planted.write_text(
        "from aoi_events import Publisher\n\n\nasync def send(to: Publisher) -> int:\n"
        '    return await to.send("token", 5)\n'
    )
    ran = project.run("-m", "mypy", "--no-incremental", ".")
    planted.unlink()
    assert 'has incompatible type "int"; expected "Content | str | bytes"' in ran.stdout
    assert 'got "NotificationAcceptedV1", expected "int"' in ran.stdout
    assert "Found 2 errors in 1 file (checked 3 source files)" in ran.stdout, ran.stdout


def test_what_is_imported_is_required(wheel: Path) -> None:
    """Every library that a module imports comes with the wheel, or with the extra of its folder."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        described = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
        sources = {
            name: archive.read(name).decode() for name in archive.namelist() if name[-3:] == ".py"
        }
    required = [Requirement(each) for each in described]
    always = closure(
        [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    )
    testing = [e for e in required if e.marker and e.marker.evaluate({"extra": "testing"})]
    extras = {"testing": always | closure(testing)}
    homes = packages_distributions()
    for name, source in sources.items():
        allowed = extras.get(name.split("/")[1], always)
        for imported in _imports(source):
            found = {canonicalize_name(home) for home in homes[imported]}
            assert found & allowed, f"{name} imports {imported}: nothing that is required has it"


def _imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"aoi_events"}


def test_what_is_imported_is_the_wheel(project: Project) -> None:
    """The sample sees the installed package, and its command works from there."""
    ran = project.run("-c", "import aoi_events; print(aoi_events.__file__)")
    assert str(project.folder.parent / "venv") in ran.stdout, ran.stdout + ran.stderr
    ran = project.run(str(project.python.parent / "aoi"), "contracts", "notification.send")
    assert ran.returncode == 0, ran.stderr
    assert '"$ref": "#/$defs/SendNotificationV1"' in ran.stdout


def test_a_source_archive_builds_the_same(tmp_path: Path) -> None:
    """The sdist holds what a distribution needs to build and test it."""
    succeed(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "workers/gateway.py"} <= names
    assert "tests/sample_project/shop.py" in names
