"""When to try again: exponential backoff with jitter, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass

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
        if not (self.first > 0 and self.factor >= 1 and self.ceiling >= self.first):
            raise ValueError("a backoff needs first > 0, factor >= 1 and ceiling >= first")

    def delay(self, retries: int, jitter: float) -> float:
        """Seconds before retry number ``retries`` (0 for the first); ``jitter`` in [0, 1]."""
        # The exponent is capped: beyond it the ceiling holds anyway and floats would overflow.
        full = min(self.ceiling, self.first * self.factor ** min(retries, 64))
        return full / 2 + full / 2 * jitter
