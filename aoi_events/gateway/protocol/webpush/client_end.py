"""When the AOI Client of a browser that lost notifications ends; pure.

The protocol has no message for lost notifications. So the client ends, the browser gets another
``uaid``, and its pages are asked to subscribe again. Before that it gets what is stored for it:
the workers are asked to end the client when they have nothing more for it, and if the browser does
not acknowledge, or new notifications never cease, to end it all the same.
"""

from __future__ import annotations

import math
from typing import Final

_ASK_EVERY: Final = 1.0
"""Seconds between two requests to end the client."""
_LONGEST: Final = 10
"""How often the time for an acknowledgement fits into the time that a client has in all."""


class ClientEnd:
    """The end of one client: after ``patience`` seconds in which the browser acknowledged none of
    the notifications in flight, and ten times that after its hello at the latest.

    Times are in seconds since the gateway started.
    """

    __slots__ = ("_ask_at", "_end_by", "_latest", "_patience")

    def __init__(self, elapsed: float, *, patience: float) -> None:
        self._patience = patience
        self._latest = elapsed + _LONGEST * patience
        self._end_by = self._latest
        self._ask_at = elapsed + _ASK_EVERY

    def in_flight(self, elapsed: float) -> None:
        """The browser has not acknowledged every notification that was sent to it."""
        if self._end_by == self._latest:
            self._end_by = min(elapsed + self._patience, self._latest)

    def acknowledged(self) -> None:
        """The browser acknowledged a notification."""
        self._end_by = self._latest

    def due(self) -> float:
        """When to ask the workers; infinite while they are asked."""
        return self._ask_at

    def overdue(self, elapsed: float) -> bool:
        """Whether the client should end although notifications are stored for it."""
        return elapsed >= self._end_by

    def asked(self) -> None:
        """The workers are asked."""
        self._ask_at = math.inf

    def wait(self, elapsed: float) -> None:
        """The client cannot end yet."""
        self._ask_at = elapsed + _ASK_EVERY
