"""A clean exit for a process that used the SMPP library."""

from __future__ import annotations

import atexit
import functools
import time
from typing import Final

__all__ = ["rest_before_exit"]

_REST: Final = 0.2


@functools.cache
def rest_before_exit() -> None:
    """Let the library's threads come to rest before the interpreter is torn down.

    smpp34 runs on threads of its own, which touch Python objects for an instant after the last
    answer was handed over; if the interpreter is gone by then, the process aborts instead of
    exiting (a limit of pyo3-async-runtimes, its issue 40). Nobody can wait for those threads, but
    once the event loop is closed they have nothing left to do, so a short rest is enough.
    """
    atexit.register(time.sleep, _REST)
