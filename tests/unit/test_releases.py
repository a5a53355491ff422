"""The list of releases, from which tests of upgrades build earlier versions."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = "aoi_events/store/migrations/versions"


def git(*arguments: str) -> str:
    """What git prints; nothing where it fails."""
    return subprocess.run(  # noqa: S603 - our own repository
        ["git", *arguments],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip


LISTED = [
    tuple(line.split())
    for line in (ROOT / ".ci" / "releases").read_text().splitlines()
    if line and not line.startswith("#")
]
RELEASES = [(version, commit) for version, commit in LISTED if git("cat-file", "-t", commit)]


def test_every_release_is_in_the_history() -> None:
    """There is a release to upgrade from, and only a shallow clone lacks its commit."""
    assert LISTED[0][0] == "0.1.0"
    shallow = git("rev-parse", "--is-shallow-repository").strip() == "true"
    assert shallow or RELEASES == LISTED


@pytest.mark.parametrize("version, commit", RELEASES)
def test_a_release_can_be_built_again(version: str, commit: str) -> None:
    """The commit of each release has that version, and describes it."""
    project = tomllib.loads(git("show", f"{commit}:pyproject.toml"))["project"]
    assert project["version"] == version
    assert f"\n## {version} - " in git("show", f"{commit}:CHANGELOG.md")


@pytest.mark.parametrize("version, commit", RELEASES)
def test_released_migrations_are_not_edited(version: str, commit: str) -> None:
    """Databases that a release made have the schema that its migrations describe today."""
    names = git("ls-tree", "--name-only", commit, f"{MIGRATIONS}/").split()
    migrations = [name for name in names if not name.endswith("__init__.py")]
    assert migrations, version
    assert [n for n in migrations if (ROOT / n).read_text() != git("show", f"{commit}:{n}")] == []
