"""How an AOI Client tells others: a stream of events, and waiting until something is true."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.model import View
from aoi_events.errors import ClientStopped
from aoi_events.platform.logs import get_logger

__all__ = ["EventStream", "Signals"]

_log = get_logger(__name__)

_LONGEST: Final = 10_000


class EventStream:
    """Events from the moment that the stream was asked for, until the AOI Client stops.

    Holds up to 10,000 that nobody has read; beyond it the oldest go, and ``lost`` counts them.
    """

    def __init__(self) -> None:
        self._events: deque[ClientEvent] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self.lost = 0

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> ClientEvent:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def pending(self) -> tuple[ClientEvent, ...]:
        """What came and was not read yet; it stays to be read."""
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
        """No more events come; what was not read stays readable."""
        self._ended = True
        self._arrived.set()


@dataclass(eq=False, slots=True)
class _Wait:
    done: Callable[[View], bool]
    future: asyncio.Future[None]


class Signals:
    """Everybody who watches or waits."""

    def __init__(self) -> None:
        self._waits: list[_Wait] = []
        self._futures: set[asyncio.Future[None]] = set()
        self._streams: list[EventStream] = []
        self._ended: ClientStopped | None = None

    def stream(self) -> EventStream:
        """A new stream of events."""
        stream = EventStream()
        if self._ended is None:
            self._streams.append(stream)
        else:
            stream.end()
        return stream

    def tell(self, event: ClientEvent) -> None:
        """Hand an event to every stream."""
        for stream in self._streams:
            stream.put(event)

    def future(self) -> asyncio.Future[None]:
        """A future that fails when the client stops before somebody sets it.

        Raises ClientStopped when it has stopped already.
        """
        if self._ended is not None:
            raise self._ended
        future = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    async def until(self, view: View, done: Callable[[View], bool]) -> None:
        """Return when ``done`` is true of the view, now or later; raise what it raises.

        Raises ClientStopped when the client stops before.
        """
        if done(view):
            return
        wait = _Wait(done, self.future())
        self._waits.append(wait)
        try:
            await wait.future
        finally:
            self._waits.remove(wait)

    def check(self, view: View) -> None:
        """Wake whoever waited for what is true now."""
        for wait in list(self._waits):
            if wait.future.done():
                continue
            try:
                done = wait.done(view)
            except Exception as error:  # noqa: BLE001 - belongs to whoever waits, and goes there
                wait.future.set_exception(error)
            else:
                if done:
                    wait.future.set_result(None)

    def end(self, reason: ClientStopped) -> None:
        """The client stops: nobody needs to wait any longer."""
        self._ended = reason
        for future in self._futures:
            if not future.done():
                future.set_exception(reason)
        for stream in self._streams:
            stream.end()
