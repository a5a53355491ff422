"""Many WebSocket connections from one process, as cheap as they can be: octets on sockets."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

_AT_ONCE: Final = 100
_PER_ADDRESS: Final = 800
"""Connections from one address of loopback; a gateway takes 1,000."""
_PING, _PONG, _TEXT = 0x9, 0xA, 0x1
WITHIN: Final = 120.0


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame from a client (RFC 6455, section 5.2), masked with zeros: as it stands."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB4x", 0x80 | opcode, 0x80 | size) + payload
    return struct.pack("!BBH4x", 0x80 | opcode, 0x80 | 126, size) + payload


class _Peer(asyncio.Protocol):
    """One connection: answers pings, counts what else comes."""

    def __init__(self, handshake: bytes, heard: Callable[[], None]) -> None:
        self._handshake = handshake
        self._heard = heard
        self._buffer = b""
        self._open = False
        self.gone = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        """The answer to the handshake, and then frames."""
        self._buffer += data
        if not self._open:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._open, self._buffer = True, rest
            self._heard()
        while self._frame():
            pass

    def _frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1], 2
        if size == 126:
            if len(buffer) < 4:
                return False
            (size,), start = struct.unpack_from("!H", buffer, 2), 4
        if len(buffer) < start + size:
            return False
        opcode, payload = buffer[0] & 0x0F, buffer[start : start + size]
        self._buffer = buffer[start + size :]
        if opcode == _PING and self.transport is not None:
            self.transport.write(masked(_PONG, payload))
        else:
            self._heard()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The server ended it."""
        self.gone = True


class ConnectionPool:
    """``size`` open connections."""

    def __init__(self, port: int, path: str, subprotocol: str | None) -> None:
        offered = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        self._port = port
        self._handshake = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offered}\r\n"
        ).encode()
        self._peers: list[_Peer] = []
        self._count = 0
        self._changed = asyncio.Event()

    def _heard(self) -> None:
        self._count += 1
        self._changed.set()

    async def _until(self, count: int) -> None:
        async with asyncio.timeout(WITHIN):
            while self._count < count:
                self._changed.clear()
                await self._changed.wait()
        self._count -= count

    async def open(self, size: int, hellos: Sequence[bytes] = ()) -> None:
        """Connect, from as many addresses of loopback as it takes; say hello at once, where that
        is asked for, and wait for what comes back.
        """
        loop = asyncio.get_running_loop()
        for start in range(0, size, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, size))
            made = await asyncio.gather(
                *(
                    loop.create_connection(
                        lambda: _Peer(self._handshake, self._heard),
                        "127.0.0.1",
                        self._port,
                        local_addr=(f"127.0.0.{2 + number // _PER_ADDRESS}", 0),
                    )
                    for number in numbers
                )
            )
            peers = [peer for _, peer in made]
            await self._until(len(peers))
            if hellos:
                await self._say(peers, hellos[start : start + _AT_ONCE])
            self._peers += peers

    async def say(self, frames: Sequence[bytes]) -> None:
        """Send each connection its frame, and wait until something came back on each."""
        for start in range(0, len(self._peers), _AT_ONCE):
            part = self._peers[start : start + _AT_ONCE]
            await self._say(part, frames[start : start + _AT_ONCE])

    async def _say(self, peers: Sequence[_Peer], frames: Sequence[bytes]) -> None:
        for peer, frame in zip(peers, frames, strict=True):
            assert peer.transport is not None
            peer.transport.write(frame)
        await self._until(len(peers))

    async def ping(self) -> None:
        """Ping the server on each connection, and wait for its pongs."""
        await self.say([masked(_PING, b"")] * len(self._peers))

    async def echo(self) -> None:
        """Send 32 octets of text on each connection, and wait for them to come back."""
        await self.say([masked(_TEXT, b"x" * 32)] * len(self._peers))

    def check(self) -> None:
        """Raises AssertionError when the server ended any."""
        gone = sum(peer.gone for peer in self._peers)
        assert not gone, f"the server ended {gone} of {len(self._peers)} connections"

    def close(self) -> None:
        """Hang up everywhere."""
        for peer in self._peers:
            if peer.transport is not None:
                peer.transport.abort()


@asynccontextmanager
async def connection_pool(
    port: int,
    size: int,
    *,
    path: str = "/",
    subprotocol: str | None = None,
    hellos: Sequence[bytes] = (),
) -> AsyncIterator[ConnectionPool]:
    """``size`` connections to that port of loopback, each of which has said its hello."""
    made = ConnectionPool(port, path, subprotocol)
    try:
        await made.open(size, hellos)
        yield made
    finally:
        made.close()
