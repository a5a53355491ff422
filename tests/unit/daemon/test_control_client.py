"""Requests to a daemon that cannot be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.contracts.apps import ListAppsV1
from aoi_events.daemon.control_client import send_request
from aoi_events.errors import ClientUnreachable


@pytest.mark.parametrize(
    "path, words",
    [("none", "No such file or directory"), ("x" * 200, "AF_UNIX path too long")],
)
def test_a_path_without_a_daemon(tmp_path: Path, path: str, words: str) -> None:
    """The error says why, also where Python and not the system refuses the path."""
    with pytest.raises(ClientUnreachable, match=words):
        send_request(tmp_path / path, ListAppsV1(version=1))
