"""``aoi keys new``: the keys that everything hangs on."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aoi_events.bootstrap.keys import load_key_file
from tests.commands import Cli


def test_keys_are_readable_by_their_owner_only(cli: Cli, tmp_path: Path) -> None:
    """A new file has mode 0600 and keys that work."""
    ran = cli("keys", "new", "--file", tmp_path / "keys.json")
    assert ran.code == 0
    assert "Keep the file secret" in ran.out
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    load_key_file(tmp_path / "keys.json")


def test_the_file_of_the_settings_is_the_default(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``--file``, AOI_KEY_FILE says where."""
    monkeypatch.setenv("AOI_KEY_FILE", str(tmp_path / "mine.json"))
    assert cli("keys", "new").code == 0
    assert (tmp_path / "mine.json").exists()


def test_two_files_have_different_keys(cli: Cli, tmp_path: Path) -> None:
    """Keys are drawn anew each time."""
    for name in ("a", "b"):
        cli("keys", "new", "--file", tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_keys_are_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    """An existing file is kept: tokens depend on it."""
    file = tmp_path / "keys.json"
    cli("keys", "new", "--file", file)
    before = file.read_text()
    ran = cli("keys", "new", "--file", file)
    assert ran.code == 78
    assert "exists; tokens made with its keys would all become invalid" in ran.err
    assert file.read_text() == before


def test_a_folder_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    """Which file cannot be written, and why."""
    ran = cli("keys", "new", "--file", tmp_path / "no" / "keys.json")
    assert ran.code == 78
    assert "keys.json: No such file or directory" in ran.err
