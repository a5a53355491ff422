"""A consumer on a queue of the in-process server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from aoi_events.broker.memory.queue import MemoryQueue, Stored
from aoi_events.broker.subscription_state import Input, State, next_state
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound
from aoi_events.topology import QueueKind


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
        self._untaken: deque[int] = deque()
        self._unsettled: dict[int, tuple[Stored, Inbound]] = {}
        self._changed = asyncio.Event()
        self._connected = True
        self._state = State.CONSUMING
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

    async def take(self, limit: int) -> Sequence[Inbound]:
        """Wait for at least one message; return what waits, up to ``limit``."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        while True:
            if self._untaken and self._state.may_take:
                tags = [self._untaken.popleft() for _ in range(min(limit, len(self._untaken)))]
                return [self._unsettled[tag][1] for tag in tags]
            if self._state is State.ENDED:
                return ()
            if self._state is State.LOST:
                raise BrokerUnavailable(
                    f"the exclusive queue {self._queue.definition.name!r} went with its "
                    "connection; subscribe to a new one"
                )
            self._changed.clear()
            await self._changed.wait()

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
        if self._state is State.PAUSED:
            self._enter(Input.RESUME)
            self._join()

    async def stop(self) -> None:
        """Let no more messages arrive for good; those that arrived can be taken and settled."""
        self._enter(Input.STOP)
        self._queue.detach(self)
        if self._exclusive:
            self._delete(self._queue)
        elif self._state is State.RETURNING:
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

    @property
    def over(self) -> bool:
        """Whether the queue was exclusive and is gone, so that nothing is left to close."""
        return self._exclusive and self._state in (State.ENDED, State.LOST)

    @property
    def _exclusive(self) -> bool:
        return self._queue.definition.kind is QueueKind.EXCLUSIVE

    def _enter(self, happened: Input) -> None:
        self._state = next_state(self._state, happened)
        self._changed.set()

    def _join(self) -> None:
        if self._connected and self._state is State.CONSUMING:
            self._queue.detach(self)
            self._queue.attach(self)

    def _give_back_untaken(self) -> None:
        untaken = list(self._untaken)
        self._untaken.clear()
        self._give_back(untaken, failed=False)

    def _give_back(self, tags: Sequence[int], *, failed: bool) -> None:
        held = [self._unsettled.pop(tag) for tag in tags if tag in self._unsettled]
        self._queue.give_back([stored for stored, _ in held], failed=failed)
