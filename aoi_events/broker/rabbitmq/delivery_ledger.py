"""The messages that one AMQP channel delivered: which wait to be taken, which are unsettled.

Without I/O. RabbitMQ numbers deliveries from 1 on each channel, and closes the channel when a tag
is settled that it does not know. A ledger therefore belongs to one channel, whose number stands in
the upper bits of each tag: messages of another channel are never settled on this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from aoi_events.ports.broker import Inbound

_TAG_BITS: Final = 48
_TAG_MASK: Final = (1 << _TAG_BITS) - 1


class DeliveryLedger:
    """The deliveries of one channel, from their arrival to their settlement."""

    def __init__(self, number: int) -> None:
        """``number`` is used for no other channel of the subscription."""
        self._number = number
        self._untaken: deque[Inbound] = deque()
        # RabbitMQ's tags in the order of delivery, which ascends.
        self._unsettled: dict[int, None] = {}

    @property
    def untaken(self) -> int:
        """How many messages wait to be taken."""
        return len(self._untaken)

    @property
    def unsettled(self) -> int:
        """How many messages wait to be settled, those that were not taken included."""
        return len(self._unsettled)

    @property
    def oldest_unsettled(self) -> int | None:
        """RabbitMQ's tag of the oldest unsettled message; None when all are settled."""
        return next(iter(self._unsettled), None)

    def tag(self, delivery_tag: int) -> int:
        """The tag of a message that RabbitMQ numbered ``delivery_tag`` on this channel."""
        return self._number << _TAG_BITS | delivery_tag

    def add(self, message: Inbound) -> None:
        """Enter a message that arrived, with a tag of :meth:`tag`."""
        self._unsettled[message.tag & _TAG_MASK] = None
        self._untaken.append(message)

    def take(self, limit: int) -> list[Inbound]:
        """Up to ``limit`` messages that wait to be taken, oldest first."""
        return [self._untaken.popleft() for _ in range(min(limit, len(self._untaken)))]

    def settle(self, messages: Iterable[Inbound]) -> list[int]:
        """Strike out messages; RabbitMQ's tags of those that were unsettled here, ascending."""
        tags = []
        for message in messages:
            tag = message.tag & _TAG_MASK
            if message.tag >> _TAG_BITS == self._number and tag in self._unsettled:
                del self._unsettled[tag]
                tags.append(tag)
        return sorted(tags)

    def restore(self, tags: Sequence[int]) -> None:
        """Enter tags again whose settlement was never sent."""
        self._unsettled = dict.fromkeys(sorted([*self._unsettled, *tags]))
