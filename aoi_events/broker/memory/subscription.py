"""A consumer on a queue of the in-process server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from aoi_events.broker.memory.queue import MemoryQueue, Stored
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound
from aoi_events.topology import QueueKind

__all__ = ["MemorySubscription"]


class MemorySubscription:
    """See :class:`aoi_events.ports.broker.Subscription`."""

    def __init__(
        self,
        queue: MemoryQueue,
        *,
        prefetch: int,
        delete: Callable[[MemoryQueue], None],
    ) -> None:
        """``delete`` removes an exclusive queue from its server."""
        if prefetch < 1:
            raise ValueError(f"prefetch must be at least 1, not {prefetch}")
        self._queue = queue
        self._prefetch = prefetch
        self._delete = delete
        self._tags = count(1)
        self._waiting: deque[int] = deque()
        self._unsettled: dict[int, tuple[Stored, Inbound]] = {}
        self._changed = asyncio.Event()
        self._connected = True
        self._paused = False
        self._stopped = False
        self.gone = False
        self._join()

    # -- what the queue calls -------------------------------------------------------------------

    def capacity(self) -> int:
        """How many more messages the prefetch allows."""
        return self._prefetch - len(self._unsettled)

    def deliver(self, stored: Stored) -> None:
        """Hold a message for :meth:`take`."""
        tag = next(self._tags)
        inbound = replace(
            stored.message,
            delivery_count=stored.delivery_count,
            redelivered=stored.redelivered,
            tag=tag,
        )
        self._unsettled[tag] = (stored, inbound)
        self._waiting.append(tag)
        self._changed.set()

    # -- the port -------------------------------------------------------------------------------

    async def take(self, limit: int) -> Sequence[Inbound]:
        """Wait for at least one message; return what waits, up to ``limit``."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        while True:
            if self._waiting and not self._paused:
                tags = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
                return [self._unsettled[tag][1] for tag in tags]
            if self._stopped:
                return ()
            if self.gone:
                raise BrokerUnavailable(
                    f"the exclusive queue {self._queue.definition.name!r} went with its "
                    "connection; subscribe to a new one"
                )
            self._changed.clear()
            await self._changed.wait()

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Settle messages for good."""
        for message in messages:
            self._unsettled.pop(message.tag, None)
        self._queue.pump()

    async def requeue(self, messages: Sequence[Inbound]) -> None:
        """Give messages back, each as a failed delivery."""
        self._give_back([message.tag for message in messages], failed=True)

    async def pause(self) -> None:
        """Let no more messages come, and keep those that nobody took."""
        self._paused = True
        self._queue.detach(self)
        if self._stopped:
            self._give_back_untaken()

    async def resume(self) -> None:
        """Take messages again."""
        if self._paused:
            self._paused = False
            self._join()
            self._changed.set()

    async def stop(self) -> None:
        """Let no more messages come for good; what is here may still be taken, and settled."""
        self._stopped = True
        self._queue.detach(self)
        if self._queue.definition.kind is QueueKind.EXCLUSIVE:
            self.gone = True
            self._delete(self._queue)
        elif self._paused:
            self._give_back_untaken()
        self._changed.set()

    # -- what the connection calls --------------------------------------------------------------

    def lose(self) -> None:
        """The connection is gone, and with it everything that was not settled."""
        self._connected = False
        self._queue.detach(self)
        self._waiting.clear()
        self._give_back(list(self._unsettled), failed=True)
        if self._queue.definition.kind is QueueKind.EXCLUSIVE:
            self.gone = True
            self._changed.set()

    def regain(self) -> None:
        """A new connection took the place of the one that was lost."""
        self._connected = True
        self._join()

    def _join(self) -> None:
        if self._connected and not (self._paused or self._stopped or self.gone):
            self._queue.detach(self)
            self._queue.attach(self)

    def _give_back_untaken(self) -> None:
        untaken = list(self._waiting)
        self._waiting.clear()
        self._give_back(untaken, failed=False)

    def _give_back(self, tags: Sequence[int], *, failed: bool) -> None:
        held = [self._unsettled.pop(tag) for tag in tags if tag in self._unsettled]
        self._queue.give_back([stored for stored, _ in held], failed=failed)
