"""Somebody who must miss nothing: a durable queue on ``aoi.events``, read to its end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final, Self

from aoi_events.broker.open import open_broker
from aoi_events.contracts.events import CloudEvent, DeliveryChanged
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Broker, Subscription
from aoi_events.topology import EVENTS, Binding, Exchange, Queue, Topology

_QUEUE: Final = Queue("aoi.reply.audit.everything", bindings=(Binding(EVENTS, "notification.#"),))
_RETRY_POLICY: Final = RetryPolicy(first=0.1, most=1.0, jitter=0.1)


class Audit:
    """What the events say of every delivery; use it with ``async with``, before anything is sent.

    Events come at least once: those with an ID that came before are counted in ``repeats`` and
    dropped. An event that is superseded before a crash could be mended may never be told, so a
    delivery may have only the one that supersedes it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: set[str] = set()
        self._changed = asyncio.Event()
        self._broker: Broker | None = None
        self._reading: asyncio.Task[None] | None = None
        self.ends: defaultdict[str, list[DeliveryChanged]] = defaultdict(list)
        """Terminal events by delivery."""
        self.stored: set[str] = set()
        """Deliveries that were stored at some time."""
        self.repeats = 0

    async def __aenter__(self) -> Self:
        self._broker = await open_broker(self._url, name="audit")
        await self._broker.declare(Topology((Exchange(EVENTS),), (_QUEUE,)))
        subscription = await self._broker.subscribe(_QUEUE, prefetch=500)
        self._reading = asyncio.create_task(self._read(self._broker, subscription))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._broker is not None:
            await self._broker.close()

    async def until(self, done: Callable[[], bool], what: str, *, within: float) -> None:
        """Return once ``done``, which is asked after every batch of events."""
        try:
            async with asyncio.timeout(within):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within:g} s: {what}") from None

    async def until_more(self, count: int, *, within: float) -> None:
        """Return once so many more have ended."""
        goal = len(self.ends) + count
        await self.until(lambda: len(self.ends) >= goal, f"{count} more end", within=within)

    async def until_settled(self, deliveries: Collection[str], *, within: float) -> None:
        """Return once each of them has ended."""
        wanted = set(deliveries)
        try:
            await self.until(lambda: wanted <= self.ends.keys(), "all settled", within=within)
        except AssertionError:
            open_ = sorted(wanted - self.ends.keys())
            raise AssertionError(
                f"{len(open_)} of {len(wanted)} deliveries have not ended within {within:g} s, "
                f"such as {', '.join(open_[:5])}"
            ) from None

    def states(self) -> dict[str, DeliveryState]:
        """The terminal state of each delivery; AssertionError for one that had two.

        **Promise.** Exactly one, and what supersedes it is *delivered*.
        """
        states = {}
        for delivery, events in self.ends.items():
            first = [event for event in events if event.supersedes is None]
            later = [event for event in events if event.supersedes is not None]
            assert len(first) <= 1, f"{delivery} ended more than once: {first}"
            assert all(event.state is DeliveryState.DELIVERED for event in later), later
            states[delivery] = (later or first)[0].state
        return states

    async def _read(self, broker: Broker, subscription: Subscription) -> None:
        async def again() -> Subscription:
            return await broker.subscribe(_QUEUE, prefetch=500)

        while True:
            try:
                messages = await subscription.take(500)
                await subscription.ack(messages)
            except BrokerUnavailable:
                subscription = await retry(again, policy=_RETRY_POLICY, on=BrokerUnavailable)
                continue
            for message in messages:
                self._note(CloudEvent.decode(message.body))
            self._changed.set()

    def _note(self, event: CloudEvent) -> None:
        if event.id in self._known:
            self.repeats += 1
            return
        self._known.add(event.id)
        if not isinstance(event.data, DeliveryChanged):
            return
        if event.data.state.terminal:
            self.ends[event.data.delivery].append(event.data)
        else:
            self.stored.add(event.data.delivery)
