"""Devices with real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.gateway.sockets.server import PATH
from tests.support.device_frames import CLIENT, SECRET, hello
from tests.support.limits import WITHIN


class Device:
    """One WebSocket of a device."""

    def __init__(self, web: aiohttp.ClientWebSocketResponse) -> None:
        self.web = web

    async def send(self, frame: str | dict[str, Any]) -> None:
        """Send a text frame."""
        await self.web.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of that kind."""
        frame: dict[str, Any] = json.loads(await self.web.receive_str(timeout=WITHIN))
        assert kind is None or frame["type"] == kind, frame
        return frame

    async def welcome(self, client: str = CLIENT, secret: str = SECRET) -> dict[str, Any]:
        """Send a hello, and return the welcome."""
        await self.send(hello(client, secret))
        return await self.receive("welcome")

    async def ask(self, name: str, **body: Any) -> dict[str, Any]:
        """Make a request, and return its answer frame."""
        await self.send({"type": "request", "id": 5, "name": name, "body": body})
        return await self.receive("answer")

    async def closed(self) -> tuple[int | None, dict[str, Any] | None]:
        """The close code, and the last frame before it, however many came."""
        last = None
        async with asyncio.timeout(WITHIN):
            async for message in self.web:
                last = json.loads(message.data)
        return self.web.close_code, last


class Devices:
    """Connects devices to one gateway, and cleans up after them."""

    def __init__(self, port: Callable[[], int], stack: AsyncExitStack) -> None:
        self.port = port
        self._stack = stack

    async def connect(
        self,
        *,
        protocols: tuple[str, ...] = (SUBPROTOCOL,),
        headers: dict[str, str] | None = None,
        path: str = PATH,
        tls: ssl.SSLContext | None = None,
        answers_pings: bool = True,
        receive_buffer: int | None = None,
        local: str = "127.0.0.1",
    ) -> Device:
        """A WebSocket on which nothing was said yet; ``local``: the address it comes from."""

        def narrow(info: Any) -> socket.socket:
            made = socket.socket(info[0], info[1], info[2])
            if receive_buffer is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            return made

        connector = aiohttp.TCPConnector(socket_factory=narrow, local_addr=(local, 0))
        session = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        web = await session.ws_connect(
            f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port()}{path}",
            protocols=protocols,
            headers=headers,
            autoping=answers_pings,
            max_msg_size=0,
            ssl=tls or True,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
        )
        # Closed when the test ends, and held until then: one that nobody refers to is closed.
        self._stack.push_async_callback(web.close)
        return Device(web)

    async def open(self, client: str = CLIENT, **options: Any) -> Device:
        """A device that was welcomed."""
        device = await self.connect(**options)
        await device.welcome(client)
        return device

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port())

        async def close() -> None:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

        self._stack.push_async_callback(close)
        return reader, writer
