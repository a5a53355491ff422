"""Exit codes of every process and command: those of sysexits(3), and of shells for signals."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process ended, for scripts and service managers."""

    DONE = 0
    """Everything was done. A worker, ``aoi up`` and ``aoi client run``: drained after SIGTERM."""
    REFUSED = 1
    """The AOI Server refused the request, or an awaited state was not reached. A worker, ``aoi up``
    and ``aoi client run``: a bug, with its traceback in the log."""
    USAGE = 2
    """An argument or option is wrong."""
    UNREACHABLE = 69
    """The broker, the store or the AOI Client cannot be reached; for a worker and ``aoi up``, at
    the start."""
    QUARANTINE_TIMEOUT = 70
    """A worker, ``aoi up``: a batch made no progress for 30 minutes, or a quarantined message none
    for ``AOI_QUARANTINE_LIMIT``."""
    STATE = 74
    """``aoi client run``: the state of the AOI Client cannot be read, written or locked."""
    TRY_LATER = 75
    """A worker and ``aoi up``: not drained in time; other copies take what was unfinished.
    ``aoi client run``: not drained in time; the AOI Server stores what was unfinished.
    ``aoi client register-app``: no answer yet; run it again."""
    CONFIG = 78
    """A setting is missing or wrong."""
    INTERRUPTED = 130
    """Ctrl-C ended the command."""
    TERMINATED = 143
    """A worker, ``aoi up`` and ``aoi client run``: a second SIGTERM or SIGINT ended it at once."""
