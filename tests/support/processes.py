"""Worker processes as an operator starts them (``python -m workers.NAME``), or as forks of that."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.support.forks import Forked
from tests.support.limits import WITHIN

_TICK: Final = os.sysconf("SC_CLK_TCK")
_LINE: Final = 1 << 20
"""Longest line of a log: a traceback is one line."""
_SHOWN: Final = 20

Entry = dict[str, Any]


class Worker:
    """One worker process, and everything that it logged.

    ``name`` may tell copies apart, as in ``notification-2``; ``kind`` is the worker that it is.
    """

    def __init__(
        self, name: str, process: Process | Forked, hear: Callable[[Worker, Entry], None]
    ) -> None:
        self.name = name
        self.kind = kind_of(name)
        self.pid = process.pid
        self.log: list[Entry] = []
        self._process = process
        self._hear = hear
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name=f"log of {name} {self.pid}")

    @property
    def running(self) -> bool:
        """Whether it is alive, as far as we have noticed."""
        return self._process.returncode is None

    @property
    def started(self) -> bool:
        """Whether it takes work."""
        return self.running and self.logged("started")

    def logged(self, event: str, times: int = 1) -> bool:
        """Whether it has logged that, so many times."""
        return len([entry for entry in self.log if entry.get("event") == event]) >= times

    def kill(self) -> None:
        """``kill -9``."""
        if self.running:
            self._process.kill()

    def terminate(self) -> None:
        """TERM: it should finish what it took, and end."""
        if self.running:
            self._process.terminate()

    async def until_logged(self, event: str, *, times: int = 1, within: float = WITHIN) -> None:
        """Return once it has logged that. AssertionError where it ends, or takes too long."""
        try:
            async with asyncio.timeout(within):
                while not self.logged(event, times):
                    assert not self._reading.done(), f"{self} ended before {event!r}{self.seen()}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self} did not log {event!r} within {within:g} s{self.seen()}"
            ) from None

    async def ended(self, *, within: float = WITHIN) -> int:
        """Its exit code (of a signal: negative), once it has ended and its log is complete."""
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._reading)
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"{self} still runs after {within:g} s{self.seen()}") from None

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def seen(self) -> str:
        """The end of its log, for a failure."""
        return "; its log ends:\n" + "\n".join(json.dumps(each) for each in self.log[-_SHOWN:])

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"level": "error", "event": line.decode(errors="replace").rstrip()}
            self.log.append(entry)
            self._hear(self, entry)
            self._changed.set()
        await self._process.wait()
        self._changed.set()

    def __repr__(self) -> str:
        return f"{self.name} (pid {self.pid})"


class Workers:
    """Worker processes of one installation; what still runs at the end of the block is drained.

    ``names`` run from the start; ``environment`` holds their settings, ``special`` those of one
    name only. ``hear`` is told of every line that one logs. ``forked``: they start without the time
    that imports take.
    """

    def __init__(
        self,
        names: Sequence[str],
        environment: Mapping[str, str],
        *,
        special: Mapping[str, Mapping[str, str]] | None = None,
        hear: Callable[[Worker, Entry], None] = lambda worker, entry: None,
        forked: bool = False,
    ) -> None:
        self._forked = forked
        self._names = names
        others = {name: value for name, value in os.environ.items() if not name.startswith("AOI_")}
        self._environment = {**others, **environment}
        self._special = special or {}
        self._hear = hear
        self.all: list[Worker] = []
        """Every process that was ever started."""

    @property
    def running(self) -> list[Worker]:
        """Those that are alive."""
        return [worker for worker in self.all if worker.running]

    async def __aenter__(self) -> Self:
        try:
            await self.start(*self._names)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.running:
            worker.terminate()
        try:
            await asyncio.gather(*(worker.ended() for worker in self.all))
        finally:
            for worker in self.running:
                worker.kill()

    async def spawn(
        self,
        name: str,
        *,
        launcher: str | None = None,
        arguments: Sequence[str] = (),
        **settings: str,
    ) -> Worker:
        """A new process, which may not take work yet; ``settings`` are for this one."""
        module = launcher or f"workers.{kind_of(name)}"
        env = {**self._environment, **self._special.get(name, {}), **settings}
        process: Process | Forked
        if self._forked:
            process = await Forked.start(module, *arguments, env=env, limit=_LINE)
        else:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments), env=env, stderr=PIPE, limit=_LINE
            )
        worker = Worker(name, process, self._hear)
        self.all.append(worker)
        return worker

    async def start(self, *names: str) -> list[Worker]:
        """New processes, once all of them take work."""
        workers = [await self.spawn(name) for name in names]
        await asyncio.gather(*(worker.until_logged("started") for worker in workers))
        return workers

    async def drain(self) -> dict[str, int]:
        """TERM to all that run; their exit codes, once all have ended."""
        draining = self.running
        for worker in draining:
            worker.terminate()
        return {str(worker): await worker.ended() for worker in draining}

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far of those that run, by kind, copies added up."""
        seconds: dict[str, float] = defaultdict(float)
        for worker in self.running:
            seconds[worker.kind] += worker.cpu()
        return dict(seconds)


def kind_of(name: str) -> str:
    """The worker that a copy of this name is."""
    return name.partition("-")[0]
