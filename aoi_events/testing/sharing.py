"""Shares one server among all processes of a test run (pytest-xdist).

The first process that needs the server starts it, the others join it, and the first one stops it
once no other process uses it.

Each process that uses a server has a shared lock on a file. The kernel releases the locks of a
process that dies, so no process waits for a dead one. If the process that started the server dies,
the reaper removes the server once no process uses it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from aoi_events.testing.container_server import Known


class Shareable(Protocol):
    """A server that one process starts and others join."""

    def start(self) -> None:
        """Start the server, and wait until it serves."""

    def stop(self) -> None:
        """Stop the server, as far as it was started."""

    def join(self, known: Known) -> None:
        """Use a server that another process started.

        Raises FileNotFoundError where it is gone, as every process that used it is.
        """

    def leave(self) -> None:
        """Stop using a server that another process started."""

    def known(self) -> Known:
        """The values with which another process joins it."""


class SharedServers:
    """The servers that this process has of those of the run; ``folder`` is the whole run's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(exist_ok=True)
        self._joined: list[tuple[Shareable, IO[str]]] = []
        self._started: list[tuple[Shareable, IO[str], str]] = []

    def use(self, server: Shareable, name: str) -> None:
        """Join the server of that name, or start it where none runs.

        Raises what its ``start`` raises.
        """
        with self._alone(name):
            record = self._record(name)
            with suppress(FileNotFoundError):
                known = json.loads(record.read_text())
                server.join(known)
                self._joined.append((server, self._users(known)))
                return
            try:
                server.start()
            except BaseException:
                server.stop()
                raise
            self._started.append((server, self._users(server.known()), name))
            record.write_text(json.dumps(server.known()))

    def close(self) -> None:
        """Leave the servers of others, then wait until ours are unused, and stop them.

        In this order no two processes wait for each other.
        """
        for server, users in self._joined:
            server.leave()
            users.close()
        self._joined.clear()
        while self._started:
            server, users, name = self._started.pop()
            try:
                with self._alone(name):
                    self._record(name).unlink(missing_ok=True)
                fcntl.flock(users, fcntl.LOCK_EX)
            finally:
                users.close()
                server.stop()

    def _record(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _users(self, known: Known) -> IO[str]:
        users = (self._folder / f"{known['container']}.users").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)
        return users

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
