"""Free TCP ports on loopback, for servers of tests."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_LOOPBACK: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A free TCP port on loopback, for a server that must restart on the same one.

    It is below those that a kernel gives to outgoing connections: if a client tried to connect
    while no server listens, it could be given that very port, and keep it. No port is given twice,
    neither by this process nor, while it runs, by another one of this user.
    """
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - guards nothing
        if port in _given:
            continue
        with suppress(OSError), socket.socket() as probe:
            # The kernel releases the lock of one octet when the process ends.
            fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _given.add(port)
            probe.bind((_LOOPBACK, port))
            return port


@cache
def _locks() -> int:
    file = Path(tempfile.gettempdir(), f"aoi-events-{os.getuid()}.ports")
    return os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
