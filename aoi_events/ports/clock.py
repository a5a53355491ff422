"""The clock and the dice: what decisions may not touch, and what a simulator replaces."""

from __future__ import annotations

import asyncio
import random
import secrets
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "Dice", "SystemClock", "SystemDice"]


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """The time now, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class Dice(Protocol):
    """Randomness."""

    def jitter(self) -> float:
        """Uniform in [0, 1)."""

    def token_hex(self, octets: int) -> str:
        """Unguessable octets, in hexadecimal."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)


class SystemDice:
    """The machine's randomness."""

    def jitter(self) -> float:
        """Uniform in [0, 1); not for secrets."""
        return random.random()  # noqa: S311 - spreads retries; nothing secret depends on it

    def token_hex(self, octets: int) -> str:
        """Unguessable octets, in hexadecimal."""
        return secrets.token_hex(octets)
