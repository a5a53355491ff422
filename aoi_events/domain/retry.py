"""When to try again: exponential backoff with jitter, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays of ``first``, ``first * factor``, … seconds, never above ``ceiling``.

    Half of each delay is fixed and half is jitter, so that a crowd that failed together does not
    come back together ("equal jitter").
    """

    first: float = 1.0
    factor: float = 2.0
    ceiling: float = 300.0

    def __post_init__(self) -> None:
        if not (
            self.first >= 0.001 and 1 <= self.factor <= 1000 and self.first <= self.ceiling < inf
        ):
            raise ValueError(
                "a backoff needs first of at least a millisecond, factor from 1 to 1000, and a "
                "ceiling that is finite and not below first"
            )

    def delay(self, retries: int, jitter: float) -> float:
        """Seconds before retry number ``retries`` (0 for the first); ``jitter`` in [0, 1]."""
        # The exponent is capped: floats would overflow, and no schedule is still rising there.
        full = min(self.ceiling, self.first * self.factor ** min(retries, 64))
        return full / 2 + full / 2 * jitter
