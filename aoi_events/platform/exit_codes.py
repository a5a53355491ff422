"""Exit codes of every process and command: those of sysexits(3), and of shells for signals."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process ended, for scripts and service managers."""

    DONE = 0
    """Everything was done."""
    REFUSED = 1
    """The AOI Server refused the request, or an awaited state was not reached."""
    USAGE = 2
    """An argument or option is wrong."""
    UNREACHABLE = 69
    """The broker, the store or the AOI Client cannot be reached."""
    QUARANTINE_TIMEOUT = 70
    """Handling a quarantined message took longer than allowed."""
    STATE = 74
    """The state of the AOI Client cannot be read, written or locked."""
    TRY_LATER = 75
    """Something did not end in time: work under way at a stop, or a registration."""
    CONFIG = 78
    """A setting is wrong."""
    INTERRUPTED = 130
    """Ctrl-C ended it."""
    TERMINATED = 143
    """A second SIGTERM ended it at once."""
