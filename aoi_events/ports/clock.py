"""The clock and the dice: time and randomness, which tests and simulators replace."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """The time now, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class Dice(Protocol):
    """A source of randomness."""

    def jitter(self) -> float:
        """Uniform in [0, 1); not for secrets."""

    def token_hex(self, octets: int) -> str:
        """Unguessable octets, in hexadecimal."""
