"""The retry schedule: exponential backoff with jitter, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays of ``first``, ``first * factor``, … seconds, never above ``ceiling``.

    Half of each delay is fixed and half is jitter, so that clients that failed together do not come
    back together ("equal jitter").
    """

    first: float = 1.0
    factor: float = 2.0
    ceiling: float = 300.0

    def __post_init__(self) -> None:
        if not (0.001 <= self.first <= self.ceiling < inf and 1 <= self.factor < inf):
            raise ValueError(
                "a backoff needs first of at least a millisecond, a ceiling not below it, and a "
                "factor of at least 1, all of them finite"
            )

    def delay(self, retries: int, jitter: float) -> float:
        """Seconds before retry number ``retries`` (0 for the first); ``jitter`` in [0, 1]."""
        # Compared as logarithms, because the power itself would overflow after enough retries.
        risen = retries * log(self.factor) >= log(self.ceiling / self.first)
        full = self.ceiling if risen else min(self.ceiling, self.first * self.factor**retries)
        return full / 2 + full / 2 * jitter
