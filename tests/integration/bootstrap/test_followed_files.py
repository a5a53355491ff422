"""Followed files of a process that ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.keys import ephemeral_keys
from aoi_events.bootstrap.process import serve
from aoi_events.bootstrap.settings import load_settings
from aoi_events.platform import followed_files
from aoi_events.platform.followed_files import FollowedFiles, follow
from tests.support.limits import WITHIN


class Notices(logging.Filter):
    """Sets ``event`` when one of these events is logged."""

    def __init__(self, event: asyncio.Event, names: set[str]) -> None:
        super().__init__()
        self._event = event
        self._names = names

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if record.getMessage() in self._names:
            self._event.set()
        return True


async def test_a_take_that_waits_does_not_delay_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TERM ends a process with 0 while a changed key file waits for a store that does not answer,
    and for the connection to it, which takes longer to give up than the process may drain.
    """
    monkeypatch.setattr(followed_files, "_LOOK_EVERY", 0.01)
    settings = load_settings(
        store=f"sqlite:///{tmp_path / 'aoi.db'}", health={"enabled": False}, drain_within=0.5
    )
    (file := tmp_path / "file").write_text("first")
    files, started, stop = FollowedFiles(), asyncio.Event(), asyncio.Event()
    waits, drained = asyncio.Event(), asyncio.Event()
    caplog.set_level(logging.INFO, "aoi_events")

    async def take() -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            await drained.wait()

    follow([file], take, taken="file_taken", refused="file_refused")
    opening = open_installation(
        settings, ["deadlines"], alone=True, keys=ephemeral_keys(), plugins={}
    )
    with caplog.filtering(Notices(drained, {"drained", "not_drained"})):
        async with opening as installation:
            serving = asyncio.create_task(serve(installation, stop, lambda _: started.set(), files))
            async with asyncio.timeout(WITHIN):
                await started.wait()
                file.write_text("second")
                await waits.wait()
                stop.set()
                assert await serving == 0
