"""A person at a terminal, in an empty folder, with no settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs commands there."""
    for name in os.environ:
        if name.startswith("AOI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)
