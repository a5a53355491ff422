"""The daemon as a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.daemon.process import run_daemon
from aoi_events.daemon.settings import ClientSettings
from aoi_events.platform.followed_files import FollowedFiles


def test_a_bug_while_files_are_followed_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised once the apps are detached; without files it would go on in silence."""

    async def watch(_files: FollowedFiles, _clock: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FollowedFiles, "watch", watch)
    settings = ClientSettings(
        url="ws://127.0.0.1:1/aoi",
        identity="tel:+15550100",
        state=tmp_path / "state",
        socket=tmp_path / "client.sock",
        network="unwatched",
    )
    with pytest.raises(ZeroDivisionError):
        run_daemon(settings)
