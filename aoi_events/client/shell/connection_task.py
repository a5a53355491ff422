"""The task of one connection: connects, receives and sends frames, and reports the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from aoi_events.client.core.inputs import ConnectionClosed, ConnectionOpened, FrameReceived, Input
from aoi_events.client.ports import Connection, Transport
from aoi_events.contracts.device import DeviceFrame
from aoi_events.errors import ConnectionLost
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.clock import Clock


class ConnectionTask:
    """Runs one connection from the attempt to connect to its end."""

    def __init__(
        self,
        generation: int,
        transport: Transport,
        clock: Clock,
        put: Callable[[Input], Awaitable[None]],
    ) -> None:
        self.generation = generation
        self._transport = transport
        self._clock = clock
        self._put = put
        self._outgoing: asyncio.Queue[DeviceFrame] = asyncio.Queue()

    def send(self, frame: DeviceFrame) -> None:
        """Queue a frame; it is dropped if the connection ends before it is sent."""
        self._outgoing.put_nowait(frame)

    async def flushed(self) -> None:
        """Return when every queued frame was sent; never, if the connection ends before."""
        await self._outgoing.join()

    async def run(self, pause: float) -> None:
        """Wait ``pause`` seconds, connect, and serve the connection until it ends."""
        if pause > 0:
            await self._clock.sleep(pause)
        try:
            connection = await self._transport.connect()
        except ConnectionLost as lost:
            await self._put(ConnectionClosed(self.generation, lost.code, lost.reason))
            return
        try:
            await self._put(ConnectionOpened(self.generation))
            ending = await self._serve(connection)
        finally:
            await connection.close()
        await self._put(ConnectionClosed(self.generation, ending.code, ending.reason))

    async def _serve(self, connection: Connection) -> ConnectionLost:
        # The reader comes first: only its error has the close code of the server.
        for ended in await first_completed(self._read(connection), self._write(connection)):
            ending = None if ended.cancelled() else ended.exception()
            if isinstance(ending, ConnectionLost):
                return ending
            if isinstance(ending, Exception):
                raise ending
        raise asyncio.CancelledError

    async def _read(self, connection: Connection) -> NoReturn:
        while True:
            await self._put(FrameReceived(self.generation, await connection.receive()))

    async def _write(self, connection: Connection) -> NoReturn:
        while True:
            await connection.send(await self._outgoing.get())
            self._outgoing.task_done()
