"""Removes from the Docker engine what a test run started, however its processes end.

A process that starts containers has a :class:`Lease` on the label that they carry: a shared lock
on a file. The lease starts a reaper, a process in a session of its own that waits for an exclusive
lock on that file. The kernel releases the locks of every process that ends, also of one that is
killed, so the reaper gets its lock when the last process with the lease has ended. If the file
still exists then, the containers were not removed, and the reaper removes them.

It replaces testcontainers' Ryuk, which is an image of its own, so a machine without a registry
cannot have it, and which takes a server away when the process that started it ends, although other
processes of the run (pytest-xdist) still use it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_LATE: Final = 60.0
"""How many seconds after the end of its client the engine may still finish what it was asked."""


class Lease:
    """A claim of this process on everything with ``label`` (``key=value``), until it ends.

    Take it before you ask the engine for anything with that label.
    """

    def __init__(self, label: str) -> None:
        file, path = tempfile.mkstemp(prefix="aoi-events-", suffix=".lease")
        self._open(file, Path(path))
        # It returns when the reaper has the file open and runs on its own.
        subprocess.run(  # noqa: S603 - this file
            [sys.executable, "-P", "-W", "ignore", __file__, label, path],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )

    @classmethod
    def joined(cls, path: Path) -> Lease:
        """Join the lease of another process, by its :attr:`path`.

        Raises FileNotFoundError where the last process with the lease is gone.
        """
        lease = cls.__new__(cls)
        lease._open(os.open(path, os.O_RDWR), path)
        if not path.exists():
            lease.give_up()
            raise FileNotFoundError(path)
        return lease

    def fileno(self) -> int:
        """The descriptor, for ``pass_fds``: a child process that inherits it has the lease too."""
        return self._file

    def settle(self) -> None:
        """End the lease, because everything with the label was removed."""
        self.path.unlink(missing_ok=True)

    def give_up(self) -> None:
        """Leave the lease; if no other process has it, the reaper removes what is left."""
        os.close(self._file)

    def _open(self, file: int, path: Path) -> None:
        self._file = file
        self.path = path
        fcntl.flock(file, fcntl.LOCK_SH)


def _main(label: str, path: str) -> None:
    file = os.open(path, os.O_RDWR)
    if os.fork():
        os._exit(0)
    fcntl.flock(file, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        # From here on nobody can join.
        os.unlink(path)  # noqa: PTH108
        os.close(file)
        _reap(label, time.time())


def _reap(label: str, now: float) -> None:
    """Remove everything with that label, also what the engine creates after its client ended."""
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    # Opened before the first look, so that no container is made between the two.
    created = client.events(
        since=int(now),
        until=int(now + _LATE),
        filters={"label": label, "type": "container", "event": "create"},
        decode=True,
    )
    _remove(client, label)
    for _ in created:
        _remove(client, label)
    _remove(client, label)


def _remove(client: Any, label: str) -> None:
    from docker.errors import APIError

    which = {"label": label}
    for container in client.containers.list(all=True, filters=which, ignore_removed=True):
        with suppress(APIError):  # somebody else was faster
            container.remove(force=True, v=True)
    for kept in (*client.networks.list(filters=which), *client.volumes.list(filters=which)):
        with suppress(APIError):
            kept.remove()
    for image in client.images.list(filters=which):
        with suppress(APIError):
            client.images.remove(image.id, force=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
