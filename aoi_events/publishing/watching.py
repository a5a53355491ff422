"""Watches notifications of one sender by events; all watches share one queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aoi_events.contracts.events import DeliveryChanged, event_routing_key
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Broker
from aoi_events.publishing.feed import EventBatch, EventFeed, read_event

_KINDS: Final = "notification.*"


class NotificationWatch:
    """The states of one notification's deliveries, by the events since :meth:`reset`."""

    def __init__(self, notification: str) -> None:
        self.notification = notification
        self._seen: dict[str, DeliveryState] = {}
        self._stale = False
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Forget earlier events: the status is queried next, and is newer."""
        self._seen.clear()
        self._stale = False

    async def until(
        self,
        states: Mapping[str, DeliveryState],
        worth_query: Callable[[Mapping[str, DeliveryState]], bool],
    ) -> None:
        """Return when ``states``, updated by events, are worth a query, or events were lost.

        Raises the error that ended the events.
        """
        while not self._stale:
            if self._failure is not None:
                raise self._failure
            # Only deliveries that the status has belong to this notification.
            if worth_query({each: self._seen.get(each, state) for each, state in states.items()}):
                return
            self._changed.clear()
            await self._changed.wait()

    def record(self, change: DeliveryChanged) -> None:
        """An event of this notification."""
        self._seen[change.delivery] = change.state
        self._changed.set()

    def mark_stale(self) -> None:
        """Events were lost."""
        self._stale = True
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """No event will come any more."""
        self._failure = error
        self._changed.set()


class NotificationWatches:
    """Every watch of a Publisher; the first one opens the queue, :meth:`close` closes it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._watches: dict[str, set[NotificationWatch]] = {}
        self._opening = asyncio.Lock()
        self._feed: EventFeed | None = None
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def watch(self, notification: str) -> NotificationWatch:
        """A watch that records every event from now on.

        Raises BrokerUnavailable; ConfigurationError if the user may not declare such a queue;
        RuntimeError after :meth:`close`.
        """
        async with self._opening:
            if self._closed:
                raise RuntimeError("this Publisher was closed")
            if self._pump is None or self._pump.done():
                feed = EventFeed(self._broker, [event_routing_key(_KINDS, self._broker.user)])
                await feed.open()
                self._feed = feed
                self._pump = asyncio.create_task(self._run(feed), name="events for waiters")
                self._pump.add_done_callback(self._ended)
        watch = NotificationWatch(notification)
        self._watches.setdefault(notification, set()).add(watch)
        return watch

    def unwatch(self, watch: NotificationWatch) -> None:
        """Remove a watch."""
        same = self._watches.get(watch.notification, set())
        same.discard(watch)
        if not same:
            self._watches.pop(watch.notification, None)

    async def close(self) -> None:
        """End the events; waiting calls raise BrokerUnavailable. Idempotent."""
        async with self._opening:
            self._closed = True
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.gather(self._pump, return_exceptions=True)
            if self._feed is not None:
                await self._feed.close()

    async def _run(self, feed: EventFeed) -> None:
        while (taken := await feed.take()) is not None:
            self._dispatch(taken)

    def _dispatch(self, taken: EventBatch) -> None:
        if taken.interrupted:
            for watch in self._every_watch():
                watch.mark_stale()
        if not self._watches:
            return
        for event in map(read_event, taken.messages):
            if event is not None and isinstance(event.data, DeliveryChanged):
                for watch in self._watches.get(event.data.notification, ()):
                    watch.record(event.data)

    def _ended(self, pump: asyncio.Task[None]) -> None:
        error = None if pump.cancelled() else pump.exception()
        for watch in self._every_watch():
            watch.fail(error or BrokerUnavailable("the events ended: the Publisher was closed"))

    def _every_watch(self) -> list[NotificationWatch]:
        return [watch for same in self._watches.values() for watch in same]
