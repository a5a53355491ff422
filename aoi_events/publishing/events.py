"""The events of a sender, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Self

from aoi_events.contracts.events import EVENT_KINDS, CloudEvent, event_routing_key
from aoi_events.ports.broker import Broker
from aoi_events.publishing.feed import EventFeed, read_event

_KINDS: Final = frozenset(EVENT_KINDS) | {f"{kind.partition('.')[0]}.*" for kind in EVENT_KINDS}


class EventStream:
    """The events since the stream was entered (``async with``) or first iterated.

    Its queue belongs to one connection: when that is lost, events are lost until the next one is
    open. The stream then continues by itself, logs a warning and counts in :attr:`interruptions`;
    use ``status`` to learn the state of a notification. To miss no event, bind a durable queue of
    your own to ``aoi.events``.
    """

    def __init__(
        self, broker: Broker, kinds: Iterable[str], *, closed: Callable[[EventStream], None]
    ) -> None:
        self._on_closed = closed
        self._feed = EventFeed(broker, (event_routing_key(kind, broker.user) for kind in kinds))
        self._ready: deque[CloudEvent] = deque()
        self._opening = asyncio.Lock()
        self._opened = False
        self._closed = False
        self.interruptions = 0
        """How often events may have been lost."""

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CloudEvent:
        await self._open()
        while not self._ready and not self._closed:
            taken = await self._feed.take()
            if taken is None:
                break
            self.interruptions += taken.interrupted
            self._ready.extend(
                event for event in map(read_event, taken.messages) if event is not None
            )
        if self._closed or not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        """End the stream, also in a task that waits for its next event. Idempotent."""
        self._closed = True
        self._on_closed(self)
        async with self._opening:
            await self._feed.close()

    async def _open(self) -> None:
        async with self._opening:
            if not (self._opened or self._closed):
                await self._feed.open()
                self._opened = True


def checked_kinds(kinds: str | Iterable[str]) -> tuple[str, ...]:
    """``kinds`` as a tuple. Raises ValueError for unknown kinds."""
    wanted = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    unknown = sorted(set(wanted) - _KINDS)
    if unknown or not wanted:
        raise ValueError(
            f"there are no events of kind {', '.join(unknown) or 'nothing'}; choose among "
            + ", ".join(sorted(_KINDS))
        )
    return wanted
