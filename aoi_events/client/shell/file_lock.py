"""A lock on a path, which ends with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600


def lock_file(path: Path) -> int | None:
    """Lock ``path`` by a file beside it; the descriptor to close, None if it is locked already.

    The lock is on a file of its own, since ``path`` may be replaced. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path.with_name(path.name + ".lock"), flags, OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
