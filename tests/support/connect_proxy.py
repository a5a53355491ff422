"""An HTTP proxy on loopback: CONNECT, and requests in absolute form."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_CHUNK: Final = 65_536


class ConnectProxy:
    """Use as ``async with ConnectProxy() as proxy``; ``asked`` are the targets of all requests.

    Every name leads to loopback. ``credentials`` ("user:password") are wanted where they are set,
    and ``refusal`` answers all requests.
    """

    def __init__(self, credentials: str | None = None) -> None:
        self.asked: list[str] = []
        self.refusal: int | None = None
        self._wanted = credentials and "Basic " + b64encode(credentials.encode()).decode()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, credentials: str = "") -> str:
        """The proxy's URL."""
        assert self._server is not None
        at = f"{credentials}@" if credentials else ""
        return f"http://{at}127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        self.asked.append(target)
        status = self.refusal
        if self._wanted and f"Proxy-Authorization: {self._wanted}\r\n" not in head:
            status = 407
        if status is not None:
            writer.write(
                f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
            return
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if tunnel else target)
        above, below = await asyncio.open_connection("127.0.0.1", parts.port)
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            below.write(head.replace(target, parts.path, 1).encode())
        try:
            await asyncio.gather(_pass(reader, below), _pass(above, writer))
        finally:
            below.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(_CHUNK):
        writer.write(part)
        await writer.drain()
    writer.write_eof()
