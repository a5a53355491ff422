"""When the AOI Client of a browser that lost notifications ends; pure.

The protocol has no message for lost notifications. So the client ends, the browser gets another
``uaid``, and its pages are asked to subscribe again. Before that it gets what is stored for it:
the workers are asked to end the client when they have nothing more for it, and if the browser
stops acknowledging, to end it all the same.
"""

from __future__ import annotations

import math
from typing import Final

_ASK_EVERY: Final = 1.0
"""Seconds between two requests to end the client."""


class ClientEnd:
    """The end of one client, ``patience`` seconds after its last acknowledgement at the latest.

    Times are in seconds since the gateway started.
    """

    __slots__ = ("_ask_at", "_end_by", "_patience")

    def __init__(self, elapsed: float, *, patience: float) -> None:
        self._patience = patience
        self._end_by = elapsed + patience
        self._ask_at = elapsed + _ASK_EVERY

    def acknowledged(self, elapsed: float) -> None:
        """The browser acknowledged a notification."""
        self._end_by = elapsed + self._patience

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
