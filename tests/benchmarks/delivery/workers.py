"""Worker processes as an operator starts them, and what they cost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

__all__ = ["Workers"]

_TICK: Final = os.sysconf("SC_CLK_TCK")


class Workers:
    """Started together; stopped with TERM at the end of the block."""

    def __init__(self, names: Sequence[str], environment: Mapping[str, str]) -> None:
        self._names = names
        self._environment = {**os.environ, **environment}
        self._processes: list[tuple[str, Process]] = []
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        started = [asyncio.Event() for _ in self._names]
        for name, event in zip(self._names, started, strict=True):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"workers.{name}", env=self._environment, stderr=PIPE
            )
            self._processes.append((name, process))
            self._readers.append(asyncio.create_task(self._read(name, process, event)))
        async with asyncio.timeout(60):
            await asyncio.gather(*(event.wait() for event in started))
        return self

    async def __aexit__(self, *_: object) -> None:
        for _, process in self._processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for _, process in self._processes))
        await asyncio.gather(*self._readers)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by worker name, copies added up."""
        seconds: dict[str, float] = defaultdict(float)
        for name, process in self._processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            seconds[name] += (int(fields[11]) + int(fields[12])) / _TICK
        return dict(seconds)

    async def _read(self, name: str, process: Process, started: asyncio.Event) -> None:
        """Warnings and errors are shown: a benchmark of broken workers measures nothing."""
        assert process.stderr is not None
        async for line in process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"level": "error", "event": line.decode(errors="replace")}
            if entry.get("event") == "started":
                started.set()
            if entry.get("level") in ("warning", "error"):
                sys.stderr.write(f"{name}: {line.decode(errors='replace')}")
