"""A consumer on a queue of the in-process server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from aoi_events.broker.memory.queue import MemoryQueue, Stored
from aoi_events.broker.subscription_state import Input, SubscriptionState
from aoi_events.broker.taking import TakingSubscription
from aoi_events.ports.broker import Inbound


class MemorySubscription(TakingSubscription):
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
        super().__init__(queue.definition)
        self._queue = queue
        self._prefetch = prefetch
        self._delete = delete
        self._tags = count(1)
        self._untaken: deque[int] = deque()
        self._unsettled: dict[int, tuple[Stored, Inbound]] = {}
        self._connected = True
        self._join()

    # -- what the queue calls -------------------------------------------------------------------

    def capacity(self) -> int:
        """How many more messages the prefetch allows."""
        return self._prefetch - len(self._unsettled)

    def deliver(self, stored: Stored) -> None:
        """Store a message for :meth:`take`."""
        tag = next(self._tags)
        inbound = replace(
            stored.message,
            delivery_count=stored.delivery_count,
            redelivered=stored.redelivered,
            tag=tag,
        )
        self._unsettled[tag] = (stored, inbound)
        self._untaken.append(tag)
        self._changed.set()

    # -- the port -------------------------------------------------------------------------------

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge messages."""
        for message in messages:
            self._unsettled.pop(message.tag, None)
        self._queue.pump()

    async def pause(self) -> None:
        """Let no more messages arrive, and keep those that were not taken."""
        self._enter(Input.PAUSE)
        self._queue.detach(self)
        if self._state.stopped:
            self._give_back_untaken()

    async def resume(self) -> None:
        """Consume again."""
        if self._state is SubscriptionState.PAUSED:
            self._enter(Input.RESUME)
            self._join()

    async def stop(self) -> None:
        """Let no more messages arrive for good; those that arrived can be taken and settled."""
        self._enter(Input.STOP)
        self._queue.detach(self)
        if self._exclusive:
            self._delete(self._queue)
        elif self._state is SubscriptionState.RETURNING:
            self._give_back_untaken()
        self._enter(Input.DRAINED)

    # -- what the connection calls --------------------------------------------------------------

    def lose(self) -> None:
        """Lose the connection, and give back everything unsettled as failed."""
        self._connected = False
        self._queue.detach(self)
        self._untaken.clear()
        self._give_back(list(self._unsettled), failed=True)
        if self._exclusive:
            self._enter(Input.QUEUE_LOST)

    def regain(self) -> None:
        """Consume again over the connection that replaced the lost one."""
        self._connected = True
        self._join()

    def _take_waiting(self, limit: int) -> Sequence[Inbound]:
        tags = [self._untaken.popleft() for _ in range(min(limit, len(self._untaken)))]
        return [self._unsettled[tag][1] for tag in tags]

    def _join(self) -> None:
        if self._connected and self._state is SubscriptionState.CONSUMING:
            self._queue.detach(self)
            self._queue.attach(self)

    def _give_back_untaken(self) -> None:
        untaken = list(self._untaken)
        self._untaken.clear()
        self._give_back(untaken, failed=False)

    def _give_back(self, tags: Sequence[int], *, failed: bool) -> None:
        held = [self._unsettled.pop(tag) for tag in tags if tag in self._unsettled]
        self._queue.give_back([stored for stored, _ in held], failed=failed)
