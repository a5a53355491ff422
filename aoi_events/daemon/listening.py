"""The Unix socket: whose it is, who may connect, how many at once."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aoi_events.contracts.apps import MAX_LINE, Failed
from aoi_events.daemon.access import Doors, Peer, Rank, peer_of
from aoi_events.daemon.json_lines import Lines
from aoi_events.errors import ConfigurationError, ErrorCode
from aoi_events.platform.logs import get_logger

__all__ = ["Listener"]

log = get_logger(__name__)

_LONGEST_PATH: Final = 107
_PER_USER: Final = 256
"""Connections of one user at once: some more than it can have attached."""
_OPERATORS: Final = 512
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

Serve = Callable[[Lines, Peer, "Rank | None"], Awaitable[None]]


class Listener:
    """Listens at ``path``, whose folder is made if need be, with mode 0700; the socket has 0600.

    Where ``doors`` name a group, it owns both, with 0710 and 0660. A socket that a daemon left
    behind when it was killed is replaced; one that answers is not.
    """

    def __init__(self, path: Path, doors: Doors) -> None:
        self.path: Final = path
        self._doors = doors
        self._lock: int | None = None
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._users: Counter[int] = Counter()

    def open(self) -> None:
        """Take the place; who connects from now on is served after `start`.

        Raises ConfigurationError that says what is in the way.
        """
        if len(os.fsencode(self.path)) > _LONGEST_PATH:
            raise ConfigurationError(
                f"{self.path} is longer than the {_LONGEST_PATH} octets of a socket's address; "
                "set AOI_CLIENT__SOCKET to a shorter one"
            )
        try:
            self._make_folder()
            self._take_hold()
            self._clear_away()
            self._bind()
        except PermissionError as error:
            raise ConfigurationError(
                f"{error.filename or self.path}: {error.strerror}; set AOI_CLIENT__SOCKET to a "
                "path that this user may use"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"no socket at {self.path}: {error.strerror}") from None

    async def start(self, serve: Serve) -> None:
        """Serve whoever connects, each by ``serve``."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            await self._admit(Lines(reader, writer), writer, serve)

        if self._socket is None:
            raise RuntimeError("the listener was not opened")
        self._server = await asyncio.start_unix_server(
            connected, sock=self._socket, limit=MAX_LINE, backlog=128
        )

    def stop(self) -> None:
        """Take no new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End every connection, and leave the place."""
        self.stop()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        if self._socket is not None:
            self._socket.close()
            self.path.unlink(missing_ok=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def _admit(self, lines: Lines, writer: asyncio.StreamWriter, serve: Serve) -> None:
        try:
            peer = peer_of(writer.get_extra_info("socket"))
        except OSError as error:
            log.warning("peer_unknown", reason=error.strerror)
            await lines.closed()
            return
        rank = self._doors.rank(peer)
        most = _OPERATORS if rank is Rank.OPERATOR else _PER_USER
        if self._users[peer.user] >= most:
            log.warning("too_many_connections", user=peer.user, limit=most)
            message = f"user {peer.user} has {most} connections open; close some"
            lines.send(Failed(code=ErrorCode.QUOTA_EXCEEDED, message=message))
            await lines.closed()
            return
        self._users[peer.user] += 1
        try:
            await serve(lines, peer, rank)
        finally:
            self._users[peer.user] -= 1
            if not self._users[peer.user]:
                del self._users[peer.user]

    def _make_folder(self) -> None:
        folder = self.path.parent
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            if self._doors.group is not None:
                os.chown(folder, -1, self._doors.group)
                folder.chmod(0o710)
        found = folder.stat()
        if found.st_mode & _WRITABLE_BY_OTHERS or found.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(
                f"{folder} can be written by others, who could put a socket of their own there; "
                "set AOI_CLIENT__SOCKET to a path in a folder of its own (mode 0700)"
            )

    def _take_hold(self) -> None:
        path = self.path.with_name(self.path.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConfigurationError(self._taken()) from None
        self._lock = descriptor

    def _clear_away(self) -> None:
        """Remove the socket that a daemon left behind; nothing else, and nothing that lives."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigurationError(
                f"{self.path} is no socket; move it away, or set AOI_CLIENT__SOCKET to another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                log.info("stale_socket_replaced", path=str(self.path))
                self.path.unlink()
                return
            except TimeoutError:
                pass
        raise ConfigurationError(self._taken())

    def _bind(self) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listening.bind(str(self.path))
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(before)
        self._socket = listening
        if self._doors.group is not None:
            os.chown(self.path, -1, self._doors.group)
            self.path.chmod(0o660)
        listening.listen(128)

    def _taken(self) -> str:
        return (
            f"another AOI Client answers at {self.path}; stop it, or set AOI_CLIENT__SOCKET (and "
            "AOI_CLIENT__STATE) to other paths"
        )
