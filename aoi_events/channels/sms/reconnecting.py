"""The pause after a session that was lost, before the next one. Pure."""

from __future__ import annotations


class ReconnectPause:
    """Seconds from ``first`` on, doubled up to ``most`` while sessions do not last for ``most``:
    an SMSC may bind us and close the connection each time.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._next = first

    def after(self, lasted: float) -> float:
        """The pause after a session that lasted so many seconds."""
        pause = self._first if lasted >= self._most else self._next
        self._next = min(2 * pause, self._most)
        return pause
