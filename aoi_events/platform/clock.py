"""The clock and the randomness of this machine."""

from __future__ import annotations

import asyncio
import random
import secrets
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock; see :class:`aoi_events.ports.clock.Clock`."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)


class SystemDice:
    """The machine's randomness; see :class:`aoi_events.ports.clock.Dice`."""

    def jitter(self) -> float:
        """Uniform in [0, 1); not for secrets."""
        return random.random()  # noqa: S311 - spreads retries; nothing secret depends on it

    def token_hex(self, octets: int) -> str:
        """Unguessable octets, in hexadecimal."""
        return secrets.token_hex(octets)
