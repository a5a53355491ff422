"""Bare WebSocket servers: they accept, answer pings, and send every text frame back.

``python -m tests.benchmarks.gateway.candidates NAME`` prints its port and serves until TERM. All
without compression, which costs 64 KiB and more a connection.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import picows
from aiohttp import WSMsgType, web
from websockets.asyncio.server import ServerConnection, serve

_BACKLOG: Final = 1_024


async def _websockets(listening: socket.socket) -> None:
    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(handle, sock=listening, compression=None, ping_interval=None) as server:
        await server.serve_forever()


async def _aiohttp(listening: socket.socket) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = web.WebSocketResponse(compress=False)
        await connection.prepare(request)
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                await connection.send_str(message.data)
        return connection

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.SockSite(runner, listening, backlog=_BACKLOG).start()
    await asyncio.Event().wait()


class _Echo(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            transport.send(picows.WSMsgType.TEXT, frame.get_payload_as_bytes())


async def _picows(listening: socket.socket) -> None:
    server = await picows.ws_create_server(
        lambda _request: _Echo(), sock=listening, backlog=_BACKLOG, enable_auto_pong=True
    )
    await server.serve_forever()


CANDIDATES: Final[dict[str, Callable[[socket.socket], Awaitable[None]]]] = {
    "websockets": _websockets,
    "aiohttp": _aiohttp,
    "picows": _picows,
}


async def main(name: str) -> None:
    """Serve as ``name``."""
    listening = socket.create_server(("0.0.0.0", 0), backlog=_BACKLOG)  # noqa: S104 - 127.0.0.x
    listening.setblocking(False)
    print(listening.getsockname()[1], flush=True)  # noqa: T201 - for who started this
    await CANDIDATES[name](listening)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
