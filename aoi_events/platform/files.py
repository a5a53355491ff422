"""Files that settings name: opened only if they are regular files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_MOST: Final = 1 << 24
"""Octets of a file: far more than any that is used, and few enough to compare twice a second."""


def open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises OSError with words for the operator, also for a FIFO, which might wait for ever, and for
    a device, which might have no end.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "not a path") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "not a regular file")


def read_regular(file: Path) -> bytes:
    """The content of a regular file of at most 16 MiB. Raises OSError as above."""
    with open_regular(file) as opened:
        octets = opened.read(_MOST + 1)
    if len(octets) > _MOST:
        raise OSError(errno.EFBIG, f"larger than {_MOST} octets")
    return octets
