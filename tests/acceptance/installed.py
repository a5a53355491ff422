"""Environments in which a wheel is installed, with what it requires and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import distribution, requires
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.limits import WITHIN


def succeed(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must end with 0; returns its standard output."""
    ran = subprocess.run(  # noqa: S603 - our own program
        command, cwd=cwd, capture_output=True, text=True, timeout=WITHIN, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def requirements(wheel: Path, extra: str = "") -> list[Requirement]:
    """What the wheel requires, by its metadata, with one of its extras or with none."""
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        described = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    every = [Requirement(each) for each in described]
    return [
        each
        for each in every
        if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in {"", extra})
    ]


def closure(required: Iterable[Requirement]) -> set[str]:
    """The names of what these requirements bring along."""
    found: set[str] = set()
    waiting = list(required)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        extras = requirement.extras or {""}
        for text in requires(name) or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(further)
    return found


def install(wheel: Path, folder: Path, extra: str = "") -> Path:
    """Make an environment with the wheel, one of its extras, and what these require; returns its
    Python.

    The libraries are those of the lock file that are installed here, linked one by one: nothing is
    downloaded, and one that the wheel forgets to require is not there.
    """
    succeed(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in closure(requirements(wheel, extra)):
        files = distribution(name).files or ()
        tops = {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
        for top in tops - {entry.name for entry in packages.iterdir()}:
            (packages / top).symlink_to(str(distribution(name).locate_file(top)))
    succeed(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index",
        "--no-deps", "--disable-pip-version-check", wheel,
    )  # fmt: skip
    return python
