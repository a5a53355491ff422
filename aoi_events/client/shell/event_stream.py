"""Observers of an AOI Client: event streams, and calls that wait for a condition."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.model import Model
from aoi_events.errors import ClientStopped
from aoi_events.platform.logs import get_logger

_log = get_logger(__name__)

_LONGEST: Final = 10_000


class ClientEventStream:
    """The events from the creation of the stream until the AOI Client stops.

    It buffers up to 10,000 events; beyond that the oldest are dropped, and ``lost`` counts them.
    """

    def __init__(self) -> None:
        self._events: deque[ClientEvent] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self.lost = 0

    def __aiter__(self) -> ClientEventStream:
        return self

    async def __anext__(self) -> ClientEvent:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def pending(self) -> tuple[ClientEvent, ...]:
        """The buffered events; they stay in the buffer."""
        return tuple(self._events)

    def put(self, event: ClientEvent) -> None:
        """Add an event."""
        if len(self._events) >= _LONGEST:
            self._events.popleft()
            self.lost += 1
            if self.lost == 1:
                _log.warning("client_events_lost", limit=_LONGEST)
        self._events.append(event)
        self._arrived.set()

    def end(self) -> None:
        """End the stream after the buffered events."""
        self._ended = True
        self._arrived.set()


class Observers:
    """Every event stream of a client, and every call that waits for a condition."""

    def __init__(self) -> None:
        self._waits: dict[asyncio.Future[None], Callable[[Model], bool]] = {}
        self._streams: list[ClientEventStream] = []
        self._ended: ClientStopped | None = None

    def stream(self) -> ClientEventStream:
        """A new stream of events."""
        stream = ClientEventStream()
        if self._ended is None:
            self._streams.append(stream)
        else:
            stream.end()
        return stream

    def emit(self, event: ClientEvent) -> None:
        """Add an event to every stream."""
        for stream in self._streams:
            stream.put(event)

    def future(self, done: Callable[[Model], bool] = lambda _: False) -> asyncio.Future[None]:
        """A future that is set when ``done(model)`` is true, unless the caller sets it.

        It fails with what ``done`` raises, and with ClientStopped if the client stops before.
        Raises ClientStopped if the client has stopped already.
        """
        if self._ended is not None:
            raise self._ended
        future = asyncio.get_running_loop().create_future()
        self._waits[future] = done
        future.add_done_callback(self._waits.pop)
        return future

    async def until(self, model: Model, done: Callable[[Model], bool]) -> None:
        """Return when ``done(model)`` is true, now or later. Raises what ``done`` raises.

        Raises ClientStopped if the client stops before.
        """
        if not done(model):
            await self.future(done)

    def check(self, model: Model) -> None:
        """Wake the calls whose condition is true now."""
        for future, done in self._waits.items():
            if future.done():
                continue
            try:
                if done(model):
                    future.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is raised in the call that waits
                future.set_exception(error)

    def end(self, reason: ClientStopped) -> None:
        """The client stops: end every stream, and fail every call that waits."""
        self._ended = reason
        for future in self._waits:
            if not future.done():
                future.set_exception(reason)
        for stream in self._streams:
            stream.end()
