"""A time limit for work that may block even the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic


class Watchdog:
    """Calls ``give_up`` from a thread of its own when a watched block takes longer than
    ``seconds``; it watches one block at a time, at the cost of reading the time.
    """

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._due = inf

    @property
    def watching(self) -> bool:
        """Whether a block is being watched."""
        return self._due < inf

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
        self._due = monotonic() + self._seconds
        try:
            yield
        finally:
            self._due = inf

    def _look(self, over: threading.Event) -> None:
        # A block that starts during a wait is due after the end of the wait.
        while not over.wait(min(self._due - monotonic(), self._seconds)):
            if self._due <= monotonic():
                self._give_up()
                return
