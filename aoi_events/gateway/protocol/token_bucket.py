"""How many frames a device may send: a token bucket, with time as an argument."""

from __future__ import annotations

from enum import Enum

__all__ = ["Allowance", "Charge"]


class Charge(Enum):
    """What a charge met."""

    FINE = "fine"
    REFUSE = "refuse"
    """Over the limit: refuse it."""
    STOP = "stop"
    """As much again over the limit: this is a flood."""


class Allowance:
    """``burst`` frames at once, and ``rate`` more each second."""

    __slots__ = ("_at", "_left")

    def __init__(self, burst: int) -> None:
        self._left = float(burst)
        self._at = 0.0

    def charge(self, elapsed: float, *, rate: float, burst: int) -> Charge:
        """Count one frame at ``elapsed`` seconds of the gateway's life."""
        self._left = min(float(burst), self._left + rate * max(0.0, elapsed - self._at)) - 1.0
        self._at = elapsed
        if self._left >= 0:
            return Charge.FINE
        if self._left >= -burst:
            return Charge.REFUSE
        return Charge.STOP

    def give_back(self) -> None:
        """The frame that was charged last is not counted after all."""
        self._left += 1.0
