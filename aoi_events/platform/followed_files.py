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

from aoi_events.errors import AoiError, InfrastructureError
from aoi_events.platform.files import read_regular
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.clock import Clock

_log = get_logger(__name__)

_LOOK_EVERY: Final = 0.5

_Contents = Sequence[bytes | str]
"""Of each file its octets, or why it cannot be read."""
Take = Callable[[], Awaitable[None]]
"""Reads the files and uses them. Raises AoiError where they cannot be used; the previous content
stays in force then, and where it is an InfrastructureError this is repeated at the next look."""

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

    HUP ends nothing: it takes what changed without waiting for a second look, and tries again what
    was refused.
    """

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self._again = asyncio.Event()
        _current.set(self)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._again.set)

    async def watch(self, clock: Clock) -> None:
        """Take files when they change, until this is cancelled."""
        while True:
            await first_completed(clock.sleep(_LOOK_EVERY), self._again.wait())
            again = self._again.is_set()
            self._again.clear()
            for entry in tuple(self.entries):
                await entry.follow(at_once=again)
            if again:
                files = [file for entry in self.entries for file in entry.names]
                _log.info("files_read_again", files=files)


@dataclass(slots=True)
class _Entry:
    files: Sequence[Path]
    take: Take
    taken: str
    refused: str
    seen: _Contents = ()
    """The content at the last look."""
    known: _Contents = ()
    """The content that was taken or refused last; empty if it must be tried again."""
    fault: str = ""
    """Why it was not taken; empty where it was."""

    def __post_init__(self) -> None:
        self.seen = self.known = self._look()

    @property
    def names(self) -> list[str]:
        """The paths of the files, for the log."""
        return [str(file) for file in self.files]

    async def follow(self, *, at_once: bool) -> None:
        """Look, and take what changed: ``at_once``, else if the look before saw the same."""
        found = await asyncio.to_thread(self._look)
        settled, self.seen = found == self.seen, found
        due = found != self.known or (at_once and self.fault)
        if not due or not (settled or at_once):
            return
        self.known = found
        try:
            await self.take()
        except InfrastructureError as error:
            self.known = ()
            self._log_fault(str(error), "; this is tried again twice a second")
        except AoiError as error:
            self._log_fault(str(error))
        else:
            self.fault, taken = "", self.taken
            _log.info(taken, files=self.names)

    def _log_fault(self, fault: str, then: str = "") -> None:
        if self.known or fault != self.fault:
            hint, refused = f"what was read before stays in force{then}", self.refused
            _log.error(refused, error=fault, files=self.names, hint=hint)
        self.fault = fault

    def _look(self) -> _Contents:
        return [_octets(file) for file in self.files]


def _octets(path: Path) -> bytes | str:
    try:
        return read_regular(path)
    except OSError as error:
        return str(error)
