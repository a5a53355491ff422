"""A pace: at most so many messages a second, evenly. Pure; times are seconds of any one clock.

Limiters of libraries make callers wait; here it is decided beforehand whether the wait is worth it,
because what would wait too long goes back to the deadlines instead.
"""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """Gives out times that lie ``1 / rate`` seconds apart; without a rate, now."""

    def __init__(self, rate: float | None) -> None:
        self._apart = 0.0 if rate is None else 1.0 / rate
        self._free_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next message could go."""
        return max(self._free_at - now, 0.0)

    def take(self, now: float, until: float) -> float | None:
        """Seconds after which the next message may go, which is reserved; None if ``until`` comes
        first, and nothing is.
        """
        wait = self.wait(now)
        if now + wait > until:
            return None
        self._free_at = now + wait + self._apart
        return wait
