"""A time limit for work that may block even the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

SLICES: Final = 30
"""Parts of the limit. Each counts once, however long it lasts, so a process that is stopped for a
while (SIGSTOP, a paused container, a debugger) is not late when it continues."""

_running: ContextVar[Watchdog | None] = ContextVar("_running", default=None)


def progressed() -> None:
    """Give the watched block that calls this the whole time again."""
    if (watchdog := _running.get()) is not None:
        watchdog.restart()


class Watchdog:
    """Calls ``give_up`` from a thread of its own when a watched block makes no progress for
    ``seconds``; it watches one block at a time.
    """

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._slice = seconds / SLICES
        self._give_up = give_up
        # Written by the block's thread only; the other two by the thread that watches it only.
        self._block: object | None = None
        self._seen: object | None = None
        self._slices = 0

    @property
    def watching(self) -> bool:
        """Whether a block is being watched."""
        return self._block is not None

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Have the thread, without which no block is watched."""
        over = threading.Event()
        threading.Thread(target=self._look, args=(over,), name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the block."""
        self._block = object()
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)
            self._block = None

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Do not watch this part of a watched block; what follows has the whole time."""
        self._block = None
        try:
            yield
        finally:
            self._block = object()

    def restart(self) -> None:
        """Give a watched block the whole time again."""
        if self.watching:
            self._block = object()

    def slice_passed(self) -> bool:
        """Count a part of the limit; returns whether the limit is over, and then gave up."""
        block = self._block
        self._slices = self._slices + 1 if block is self._seen and block is not None else 0
        self._seen = block
        if self._slices < SLICES:
            return False
        self._give_up()
        return True

    def _look(self, over: threading.Event) -> None:
        while not over.wait(self._slice) and not self.slice_passed():
            pass
