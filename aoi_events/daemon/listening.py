"""The Unix socket for apps: its file, its lock, and the connections that it accepts."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aoi_events.client.shell.file_lock import lock_file
from aoi_events.contracts.apps import MAX_LINE, AppRequestFailed
from aoi_events.daemon.access import AccessPolicy, Peer, Role, peer_of
from aoi_events.daemon.app_connection import AppConnection
from aoi_events.errors import ConfigurationError, ErrorCode
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)

_LONGEST_PATH: Final = 107
_PER_USER: Final = 256
"""Connections of one user at once: more than it can have attached apps."""
_OPERATORS: Final = 512
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

Serve = Callable[[AppConnection, Peer, "Role | None"], Awaitable[None]]


class AppListener:
    """Listens at ``path``; creates its folder with mode 0700, and the socket with 0600.

    If ``policy`` has a group, the group owns both, with modes 0710 and 0660. The socket of a daemon
    that was killed is replaced; a socket that answers is not.
    """

    def __init__(self, path: Path, policy: AccessPolicy) -> None:
        self.path: Final = path
        self._policy = policy
        self._lock: int | None = None
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._users: Counter[int] = Counter()

    def open(self) -> None:
        """Create the socket; connections wait until `start`. Raises ConfigurationError."""
        if len(os.fsencode(self.path)) > _LONGEST_PATH:
            raise ConfigurationError(
                f"{self.path} is longer than the {_LONGEST_PATH} octets of a socket's address; "
                "set AOI_CLIENT__SOCKET to a shorter one"
            )
        try:
            self._make_folder()
            self._take_lock()
            self._remove_stale_socket()
            self._bind()
        except PermissionError as error:
            raise ConfigurationError(
                f"{error.filename or self.path}: {error.strerror}; set AOI_CLIENT__SOCKET to a "
                "path that this user may use"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"AOI_CLIENT__SOCKET: cannot listen at {self.path}: {error.strerror}"
            ) from None

    async def start(self, serve: Serve) -> None:
        """Serve every connection with ``serve``."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            await self._admit(AppConnection(reader, writer), writer, serve)

        if self._socket is None:
            raise RuntimeError("the listener was not opened")
        self._server = await asyncio.start_unix_server(
            connected, sock=self._socket, limit=MAX_LINE, backlog=128
        )

    def stop(self) -> None:
        """Accept no new connections; open ones stay open."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End every connection, and remove the socket."""
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

    async def _admit(
        self, connection: AppConnection, writer: asyncio.StreamWriter, serve: Serve
    ) -> None:
        try:
            peer = peer_of(writer.get_extra_info("socket"))
        except OSError as error:
            log.warning("peer_unknown", reason=error.strerror)
            await connection.closed()
            return
        role = self._policy.role(peer)
        most = _OPERATORS if role is Role.OPERATOR else _PER_USER
        if self._users[peer.user] >= most:
            log.warning("too_many_connections", user=peer.user, limit=most)
            message = f"user {peer.user} has {most} connections open; close some"
            connection.send(AppRequestFailed(code=ErrorCode.QUOTA_EXCEEDED, message=message))
            await connection.closed()
            return
        self._users[peer.user] += 1
        try:
            await serve(connection, peer, role)
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
            if self._policy.group is not None:
                os.chown(folder, -1, self._policy.group)
                folder.chmod(0o710)
        found = folder.stat()
        if found.st_mode & _WRITABLE_BY_OTHERS or found.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(
                f"{folder} can be written by others, who could put a socket of their own there; "
                "set AOI_CLIENT__SOCKET to a path in a folder of its own (mode 0700)"
            )

    def _take_lock(self) -> None:
        self._lock = lock_file(self.path)
        if self._lock is None:
            raise ConfigurationError(self._in_use())

    def _remove_stale_socket(self) -> None:
        """Remove the socket of a daemon that was killed. Raises ConfigurationError for others."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigurationError(
                f"{self.path} is not a socket; move it away, or set AOI_CLIENT__SOCKET anew"
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
        raise ConfigurationError(self._in_use())

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
        if self._policy.group is not None:
            os.chown(self.path, -1, self._policy.group)
            self.path.chmod(0o660)
        listening.listen(128)

    def _in_use(self) -> str:
        return (
            f"another AOI Client answers at {self.path}; stop it, or set AOI_CLIENT__SOCKET (and "
            "AOI_CLIENT__STATE) to other paths"
        )
