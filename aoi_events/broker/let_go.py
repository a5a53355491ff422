"""Publishes whose confirms are no longer awaited, within bounds; without I/O.

A queue on a node that went silent confirms nothing until the cluster declares the node down, which
takes a minute. What may be lost is let go after a while: the rest of its batch is acknowledged, and
later messages for the same destination are not awaited at all. Past the bounds they are not even
sent: RabbitMQ stops reading from a publisher of some 400 messages that one classic queue did not
take, or some 130 that a quorum queue did not (tried with 4.0.5).

A destination is a queue, or an exchange with all its routing keys: the same queue may be bound to
any number of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from aoi_events.ports.broker import Outbound

MESSAGES: Final = 1_000
OCTETS: Final = 8 * 1024 * 1024
"""Of what is published in their place when they come back."""
OF_ONE_DESTINATION: Final = 100

_Destination = tuple[str, str]


class LetGo:
    """The messages that were let go and not answered yet, by destination."""

    def __init__(
        self,
        *,
        messages: int = MESSAGES,
        octets: int = OCTETS,
        of_one_destination: int = OF_ONE_DESTINATION,
    ) -> None:
        self._messages = messages
        self._octets = octets
        self._of_one_destination = of_one_destination
        self._counts: Counter[_Destination] = Counter()
        self._total = 0
        self._size = 0

    def __len__(self) -> int:
        return self._total

    @property
    def full(self) -> bool:
        """Whether nothing more is sent to silent destinations. The first messages for others may
        still be let go.
        """
        return self._total >= self._messages or self._size >= self._octets

    def silent(self, message: Outbound) -> bool:
        """Whether an earlier message for the same destination is not answered."""
        return _destination(message) in self._counts

    def refuses(self, message: Outbound) -> bool:
        """Whether nothing more is sent to its destination, which is silent."""
        there = self._counts.get(_destination(message), 0)
        return there >= self._of_one_destination or (there > 0 and self.full)

    def add(self, message: Outbound) -> bool:
        """Let a message go; returns whether it is the first for its destination."""
        destination = _destination(message)
        self._counts[destination] += 1
        self._total += 1
        self._size += _size(message)
        return self._counts[destination] == 1

    def remove(self, message: Outbound) -> bool:
        """Strike out a message that was answered; returns whether it is the last for its
        destination.
        """
        destination = _destination(message)
        self._total -= 1
        self._size -= _size(message)
        self._counts[destination] -= 1
        if self._counts[destination]:
            return False
        del self._counts[destination]
        return True


def _destination(message: Outbound) -> _Destination:
    return message.exchange, "" if message.exchange else message.routing_key


def _size(message: Outbound) -> int:
    return len(message.body) + (0 if message.if_returned is None else _size(message.if_returned))
