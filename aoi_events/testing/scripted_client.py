"""A device with scripted network, user and short messages, for tests, demo and benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Generic, Literal, TypeVar

from aoi_events.client.core.inputs import ShortMessage
from aoi_events.client.core.model import Network
from aoi_events.client.ports import Connection, Transport
from aoi_events.contracts.device import DeviceFrame, ServerFrame
from aoi_events.contracts.requests import Circumstances
from aoi_events.errors import ConnectionLost
from aoi_events.platform.tasks import first_completed

T = TypeVar("T")


class Script(Generic[T]):
    """Values that a test puts in, read in order: pushes of a channel, or identities of a user."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[T] = asyncio.Queue()

    def put(self, item: T) -> None:
        """Let a value arrive."""
        self._items.put_nowait(item)

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            yield await self._items.get()


class ScriptedNetwork(Script[Network]):
    """A network that a test changes."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.current = network or Network(Circumstances(bearer="wifi"), "192.0.2.1")
        """The network now."""

    def change(
        self,
        *,
        bearer: Literal["unknown", "none", "cellular", "wifi", "ethernet"] | None = None,
        metered: bool | None = None,
        address: str | None = None,
    ) -> None:
        """Change these properties of the network. Bearer ``none`` takes the network away."""
        given = {"bearer": bearer, "metered": metered}
        changes = {name: value for name, value in given.items() if value is not None}
        self.current = replace(
            self.current,
            circumstances=self.current.circumstances.model_copy(update=changes),
            address=address if address is not None else self.current.address,
        )
        self.put(self.current)


class ScriptedSms(Script[ShortMessage]):
    """A radio that receives the short messages of a test."""

    def receive(self, *user_data: bytes) -> None:
        """Let short messages arrive (user data, header first)."""
        for octets in user_data:
            self.put(ShortMessage(octets, "AOI"))


class CuttableTransport:
    """A transport whose connections can be cut without notice, as radio connections are.

    While it is cut, nothing passes in either direction, pings and closing included, but the socket
    stays open at the other end, which has to find out by itself; new connections fail.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._cut = False
        self._connections: set[_CuttableConnection] = set()

    async def connect(self) -> Connection:
        """Open a connection. Raises ConnectionLost, always while it is cut."""
        if self._cut:
            raise ConnectionLost("the network is cut")
        # A cut while the handshake is under way is a cut after it: the muting happens on entry.
        made = await self._transport.connect()
        connection = _CuttableConnection(made, self._connections, muted=self._cut)
        self._connections.add(connection)
        return connection

    def cut(self) -> None:
        """Cut every connection so that neither end notices."""
        self._cut = True
        for connection in self._connections:
            connection.muted.set()

    async def restore(self) -> None:
        """Let connections be made again; both ends notice that the old ones are dead."""
        self._cut = False
        for connection in [c for c in self._connections if c.muted.is_set()]:
            await connection.die()


class _CuttableConnection:
    def __init__(
        self, connection: Connection, siblings: set[_CuttableConnection], *, muted: bool
    ) -> None:
        self._connection = connection
        self._siblings = siblings
        self.muted = asyncio.Event()
        if muted:
            self.muted.set()
        self._dead = asyncio.Event()

    async def send(self, frame: DeviceFrame) -> None:
        if not self.muted.is_set():
            await self._connection.send(frame)

    async def receive(self) -> ServerFrame:
        if not self.muted.is_set():
            frame = await self._receive_unless_muted()
            if frame is not None:
                return frame
        await self._dead.wait()
        raise ConnectionLost("the network was cut")

    async def close(self) -> None:
        # What is muted ends when the transport is restored: closing now would be a word.
        if not self.muted.is_set():
            self._siblings.discard(self)
            await self._connection.close()

    async def die(self) -> None:
        self._dead.set()
        self._siblings.discard(self)
        await self._connection.close()

    async def _receive_unless_muted(self) -> ServerFrame | None:
        receiving, _ = await first_completed(self._connection.receive(), self.muted.wait())
        return None if self.muted.is_set() else receiving.result()
