"""Files that settings name: what would wait for ever or never end is refused before it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from aoi_events.platform.files import read_regular


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a FIFO, two links that lead to each other, and a file that is too large."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    (tmp_path / "large").write_bytes(bytes((1 << 24) + 1))
    return tmp_path


@pytest.mark.parametrize(
    "path, words",
    [
        ("fifo", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("/dev/null", "not a regular file"),
        ("loop", "Too many levels of symbolic links"),
        (".", "Is a directory"),
        ("none", "No such file or directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "not a path"),
        ("large", "larger than 16777216 octets"),
    ],
)
def test_what_is_refused(folder: Path, path: str, words: str) -> None:
    """Each is an error of the system at once, whose words say why."""
    with pytest.raises(OSError, match=re.escape(words)):
        read_regular(folder / path)


def test_a_file_is_read(folder: Path) -> None:
    """A regular file is read whole, also through a symbolic link."""
    (folder / "file").write_bytes(b"content")
    (folder / "link").symlink_to("file")
    assert read_regular(folder / "link") == b"content"
