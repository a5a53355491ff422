"""``aoi`` as a process whose log is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.commands import AOI, environment
from tests.support.limits import WITHIN

MEMORY: Final = {"AOI_GATEWAY__PORT": "0", "AOI_ENDPOINT__PORT": "0", "AOI_HEALTH__PORT": "0"}
"""Any free ports; broker and store are in memory and in a file, as without settings."""


@dataclass
class Process:
    """A running ``aoi``; its log is read line by line."""

    running: asyncio.subprocess.Process
    log: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, event: str) -> dict[str, Any]:
        """Return the line of the log with this event, when it comes."""
        for line in self.log:
            if line["event"] == event:
                return line
        assert self.running.stderr is not None
        async with asyncio.timeout(WITHIN):
            async for text in self.running.stderr:
                self.log.append(json.loads(text))
                if self.log[-1]["event"] == event:
                    return self.log[-1]
        raise AssertionError(f"it ended without {event!r}: {self.log}")

    async def ends(self) -> int:
        """The exit code, when it ends."""
        async with asyncio.timeout(WITHIN):
            _, rest = await self.running.communicate()
        self.log += [json.loads(line) for line in rest.splitlines()]
        assert self.running.returncode is not None
        return self.running.returncode


class Start:
    """The fixture ``start``: runs ``aoi`` with arguments and settings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[Process] = []

    async def __call__(self, *arguments: str, **settings: str) -> Process:
        """Run it; it is killed when the test ends."""
        process = Process(
            await asyncio.create_subprocess_exec(
                *AOI,
                *arguments,
                cwd=self._folder,
                env=environment(settings),
                stderr=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        self.started.append(process)
        return process


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts processes, and ends those that still run."""
    start = Start(tmp_path)
    yield start
    for process in start.started:
        if process.running.returncode is None:
            process.running.kill()
            await process.running.communicate()
