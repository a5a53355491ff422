"""A delay at the exit of a process that used the SMPP library."""

from __future__ import annotations

import atexit
import functools
import time
from typing import Final

_DELAY: Final = 0.2


@functools.cache
def delay_exit() -> None:
    """Delay the exit of this process, so that the threads of the SMPP library end before it.

    smpp34 runs on threads of its own, which use Python objects for an instant after the last
    answer; if the interpreter is gone by then, the process aborts instead of exiting (a limit of
    pyo3-async-runtimes, its issue 40). The threads cannot be joined. Once the event loop is closed
    they have no more work, so a short delay is enough.
    """
    atexit.register(time.sleep, _DELAY)
