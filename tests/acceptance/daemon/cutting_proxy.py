"""A proxy between a device and the gateway, which cuts or swallows connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Self
from urllib.parse import urlsplit

_CHUNK: Final = 65_536


class CuttingProxy:
    """Passes connections on to ``target``; can cut them, refuse new ones, or swallow everything."""

    def __init__(self, target: str) -> None:
        self.forward_to(target)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, listening: socket.socket | None = None) -> Self:
        """Listen there, or on a port of its own."""
        if listening is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        else:
            self._server = await asyncio.start_server(self._serve, sock=listening)
        return self

    def url(self, host: str = "127.0.0.1") -> str:
        """Where devices connect."""
        assert self._server is not None
        return f"ws://{host}:{self._server.sockets[0].getsockname()[1]}{self._path}"

    def forward_to(self, target: str) -> None:
        """Pass new connections on to that URL."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._path = parts.path

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._refusing = True
        for writer in self._writers:
            writer.transport.abort()

    def swallow(self) -> None:
        """Let nothing pass any more, in either direction; connections stay open."""
        self._open.clear()

    def restore(self) -> None:
        """Pass on new connections again; connections that were swallowed end."""
        self._refusing = False
        if not self._open.is_set():
            for writer in self._writers:
                writer.transport.abort()
        self._open.set()

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refusing:
            writer.transport.abort()
            return
        theirs, ours = await asyncio.open_connection(*self._target)
        self._writers |= {writer, ours}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, ours))
                group.create_task(self._pump(theirs, writer))
        except* OSError:
            pass
        finally:
            for each in (writer, ours):
                each.transport.abort()
                self._writers.discard(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(_CHUNK):
            await self._open.wait()
            writer.write(octets)
            await writer.drain()
        raise ConnectionResetError("one side has ended")
