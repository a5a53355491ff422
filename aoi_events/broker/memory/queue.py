"""One queue of the in-process server: order, prefetch, delivery counts, limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aoi_events.ports.broker import Inbound
from aoi_events.topology import Queue, QueueKind

if TYPE_CHECKING:
    from aoi_events.broker.memory.subscription import MemorySubscription


@dataclass(slots=True)
class Stored:
    """A message in a queue, with what the queue knows about it."""

    message: Inbound
    delivery_count: int = 0
    redelivered: bool = False


class MemoryQueue:
    """A queue and its consumers, served in turn."""

    def __init__(
        self,
        definition: Queue,
        *,
        owner: object | None,
        dead_letter: Callable[[Queue, Stored], None],
    ) -> None:
        self.definition = definition
        self.owner = owner
        self._dead_letter = dead_letter
        self._ready: deque[Stored] = deque()
        # What was given back goes out before what is new, as a quorum queue does it.
        self._given_back: deque[Stored] = deque()
        self._bytes = 0
        self._consumers: deque[MemorySubscription] = deque()

    def __len__(self) -> int:
        """How many messages are ready; those that consumers have not settled are not counted."""
        return len(self._ready) + len(self._given_back)

    def full(self) -> bool:
        """Whether the queue refuses the next message (``reject-publish``)."""
        limit = self.definition.max_length_bytes
        return limit is not None and self._bytes > limit

    def push(self, message: Inbound) -> None:
        """Enqueue a new message."""
        self._ready.append(Stored(message))
        self._bytes += len(message.body)
        self.pump()

    def give_back(self, stored: Iterable[Stored], *, failed: bool) -> None:
        """Enqueue messages again, in the order in which they were delivered.

        ``failed`` counts a failed delivery of each; past the limit they are dead-lettered.
        """
        for item in stored:
            item.redelivered = True
            if failed and self.definition.kind is QueueKind.QUORUM:
                item.delivery_count += 1
            limit = self.definition.delivery_limit
            if limit is not None and item.delivery_count > limit:
                self._dead_letter(self.definition, item)
            else:
                self._given_back.append(item)
                self._bytes += len(item.message.body)
        self.pump()

    def attach(self, consumer: MemorySubscription) -> None:
        """Deliver to ``consumer`` too, in turn with the others."""
        self._consumers.append(consumer)
        self.pump()

    def detach(self, consumer: MemorySubscription) -> None:
        """Deliver nothing more to ``consumer``; detaching twice changes nothing."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)
            self.pump()

    def end(self) -> None:
        """Notify the consumers that the queue was deleted."""
        for consumer in list(self._consumers):
            consumer.lose()

    def pump(self) -> None:
        """Deliver ready messages to consumers that have capacity."""
        while len(self) and (consumer := self._next_consumer()) is not None:
            stored = (self._given_back or self._ready).popleft()
            self._bytes -= len(stored.message.body)
            consumer.deliver(stored)

    def _next_consumer(self) -> MemorySubscription | None:
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.capacity() > 0:
                return consumer
        return None
