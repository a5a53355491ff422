"""A release: what is built for it, and that it works where nothing else is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.acceptance.installed import install, succeed
from tests.support.limits import WITHIN

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with what stands here, committed or not, as a version to release."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in succeed("git", "ls-files", cwd=ROOT).splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    succeed("git", "init", "-q", cwd=folder)
    (folder / ".git" / "info" / "exclude").write_text(".venv\n")
    commit(folder, "tests: begin")
    return folder


@pytest.fixture(scope="module")
def released(checkout: Path) -> Path:
    """The folder with the release of that repository."""
    made = release(checkout)
    assert made.returncode == 0, made.stderr
    return checkout / "dist"


def release(checkout: Path, folder: str = "dist") -> subprocess.CompletedProcess[str]:
    """Build a release there."""
    return subprocess.run(  # noqa: S603 - our own program
        [checkout / ".ci" / "release", folder],
        capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip


def commit(folder: Path, message: str) -> None:
    """Commit everything there."""
    succeed("git", "add", "--all", cwd=folder)
    succeed(
        "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message,
        cwd=folder,
    )  # fmt: skip


def test_a_release_has_wheel_source_checksums_and_notes(released: Path) -> None:
    """The checksums are those of both archives, and the notes are the section of the changelog."""
    (wheel,) = released.glob("*.whl")
    (source,) = released.glob("*.tar.gz")
    summed = succeed("sha256sum", "--check", "SHA256SUMS", cwd=released)
    assert summed.splitlines() == [f"{wheel.name}: OK", f"{source.name}: OK"]
    notes = (released / "NOTES.md").read_text()
    assert notes.startswith(f"# aoi-events {VERSION}\n")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert notes.partition("\n")[2].strip() in changelog


def test_two_builds_of_a_commit_are_the_same(checkout: Path, released: Path) -> None:
    """Whoever builds the commit again gets the same octets, so checksums can be compared."""
    again = release(checkout, "dist-again")
    assert again.returncode == 0, again.stderr
    sums = (checkout / "dist-again" / "SHA256SUMS").read_text()
    assert sums == (released / "SHA256SUMS").read_text()


def test_what_is_not_committed_is_not_released(checkout: Path, released: Path) -> None:
    """A change that is not committed ends it with one line that says what to do."""
    (checkout / "README.md").write_text("changed")
    refused = release(checkout)
    succeed("git", "checkout", "-q", "README.md", cwd=checkout)
    assert refused.returncode == 1
    assert refused.stderr == (
        "release: there are changes that are not committed: commit them first\n"
    )


def test_a_version_without_notes_is_not_released(checkout: Path, released: Path) -> None:
    """The changelog must have a section of the version."""
    project = checkout / "pyproject.toml"
    text = project.read_text()
    project.write_text(text.replace('\nversion = "', '\nversion = "99', 1))
    commit(checkout, "tests: raise the version")
    refused = release(checkout)
    assert refused.returncode == 1
    assert refused.stderr.startswith('release: CHANGELOG.md has no section "## 99')


def test_the_wheel_alone_sends_a_notification(released: Path, tmp_path: Path) -> None:
    """With what the wheel requires and nothing else, the demo sends and delivers notifications."""
    python = install(wheel_in(released), tmp_path / "venv")
    told = succeed(python.parent / "aoi", "demo", cwd=tmp_path)
    assert "delivered" in told


def test_the_extra_for_tests_sends_a_notification(released: Path, tmp_path: Path) -> None:
    """With the extra `testing`, a test of one's own sends a notification by our fixtures."""
    python = install(wheel_in(released), tmp_path / "venv", "testing")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    (tmp_path / "test_send.py").write_text(
        "from aoi_events import Publisher\n\n\n"
        "async def test_send(aoi, fake_device):\n"
        "    phone = await fake_device('phone', apps=['org.mail'])\n"
        "    async with Publisher(aoi.broker_url('shop')) as publisher:\n"
        "        await publisher.send(phone.token, 'hello')\n"
        "    assert (await phone.read()).content.data == 'hello'\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    ran = subprocess.run(  # noqa: S603 - our own program
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path, env=clean,
        capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def wheel_in(folder: Path) -> Path:
    """The wheel there."""
    (wheel,) = folder.glob("*.whl")
    return wheel
