"""A limit on messages a second, at even distances. Pure; times are seconds of any one clock.

It decides before the wait whether the wait would be too long, because an item that would wait too
long goes back to the deadlines worker instead. A token bucket would allow bursts, which an SMSC
answers by throttling, and would reserve nothing.
"""

from __future__ import annotations


class RateLimit:
    """Reserves times that are ``1 / rate`` seconds apart; without a rate, every time is free."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._free_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next message may go."""
        return max(self._free_at - now, 0.0)

    def take(self, now: float, until: float) -> float | None:
        """Reserve the next time, and return the seconds until then; None if ``until`` is before
        it, and nothing is reserved.
        """
        wait = self.wait(now)
        if now + wait > until:
            return None
        self._free_at = now + wait + self._interval
        return wait
