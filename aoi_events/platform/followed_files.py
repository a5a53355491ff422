"""Files that are read again while the process runs: when they change, and on the signal HUP.

They are polled twice a second. This costs little, works on every file system, and notices a file
that was rewritten, replaced, or swapped behind a symbolic link (as Kubernetes does). A change
counts once two polls in a row read the same, so that a half-written file is not used.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aoi_events.errors import AoiError
from aoi_events.platform.files import open_regular
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.clock import Clock

_log = get_logger(__name__)

_LOOK_EVERY: Final = 0.5
_MOST: Final = 16 * 1024 * 1024
"""Octets of a file that are compared."""

Take = Callable[[], Awaitable[None]]
"""Reads the files and uses them. Raises AoiError where they cannot be used; the previous content
stays in force then."""

_current: ContextVar[FollowedFiles | None] = ContextVar("_current", default=None)


def follow(files: Sequence[Path | None], take: Take, *, taken: str, refused: str) -> None:
    """Call ``take`` whenever one of ``files`` has changed; read them after this call.

    ``taken`` and ``refused`` are the events of the log. Where the process follows no files, this
    does nothing.
    """
    named = [file for file in files if file is not None]
    if named and (current := _current.get()) is not None:
        current.entries.append(_Entry(named, take, taken, refused))


class FollowedFiles:
    """The files that a process follows: those that `follow` names in this task and what it starts.

    HUP takes all of them, and ends nothing.
    """

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self._again = asyncio.Event()
        _current.set(self)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._again.set)

    async def watch(self, clock: Clock, stop: asyncio.Event) -> None:
        """Take files when they change, until ``stop``."""
        while not stop.is_set():
            await first_completed(clock.sleep(_LOOK_EVERY), self._again.wait(), stop.wait())
            if stop.is_set():
                return
            again = self._again.is_set()
            self._again.clear()
            for entry in tuple(self.entries):
                await entry.follow(at_once=again)
            if again:
                files = [str(file) for entry in self.entries for file in entry.files]
                _log.info("files_read_again", files=files)


@dataclass(slots=True)
class _Entry:
    files: Sequence[Path]
    take: Take
    taken: str
    refused: str
    seen: Sequence[bytes | str] = ()
    known: Sequence[bytes | str] = ()

    def __post_init__(self) -> None:
        self.seen = self.known = self._look()

    async def follow(self, *, at_once: bool) -> None:
        found = await asyncio.to_thread(self._look)
        settled, self.seen = found == self.seen, found
        if at_once or (settled and found != self.known):
            taken, refused, self.known = self.taken, self.refused, found
            try:
                await self.take()
            except AoiError as error:
                hint = "what was read before stays in force"
                _log.error(refused, error=str(error), hint=hint)
            else:
                _log.info(taken, files=[str(file) for file in self.files])

    def _look(self) -> Sequence[bytes | str]:
        return [_octets(file) for file in self.files]


def _octets(path: Path) -> bytes | str:
    try:
        with open_regular(path) as file:
            return file.read(_MOST)
    except OSError as error:
        return str(error)
