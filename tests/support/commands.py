"""Runs ``aoi`` as a person does: in this process, or in one of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from aoi_events.cli.app import main
from tests.support.limits import WITHIN

AOI = [sys.executable, "-m", "aoi_events.cli"]
"""The command line in a process of its own."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which is one JSON document."""
        return json.loads(self.out)


class Cli:
    """The fixture ``cli``: ``cli("status", "n1")``. Settings are set with ``monkeypatch``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run ``aoi`` with these arguments."""
        self._capsys.readouterr()
        with _logging_restored(), pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
        said = self._capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int), code
        return Ran(code or 0, said.out, said.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs commands in an empty folder, without settings."""
    for name in os.environ:
        if name.startswith("AOI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)


@contextmanager
def _logging_restored() -> Iterator[None]:
    """Commands decide on the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def environment(settings: Mapping[str, str] = _NONE) -> dict[str, str]:
    """The environment of a process with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AOI_")}
    return {**others, **settings, "COLUMNS": "100"}


def run(
    *arguments: str, cwd: Path, settings: Mapping[str, str] = _NONE, timeout: float = WITHIN
) -> Ran:
    """Run ``aoi`` in a process of its own to its end."""
    done = subprocess.run(  # noqa: S603 - our own program
        [*AOI, *arguments],
        cwd=cwd,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
