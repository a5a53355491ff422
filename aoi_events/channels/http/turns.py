"""Whose turn it is to be sent: so many requests to one origin at once, and so many in all.

The wait for a turn is no part of a request, so that whoever is slow is blamed for its own slowness
only, and a worker's busy hour for nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Turns", "origin_of"]


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL in its one spelling (RFC 6454, section 4)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


class Turns:
    """``each``: requests to one origin at once; ``overall``: in all."""

    def __init__(self, *, each: int, overall: int) -> None:
        self._each = each
        self._all: Final = asyncio.Semaphore(overall)
        self._lines: Final[dict[str, _Line]] = {}

    def __len__(self) -> int:
        """Origins that somebody sends to, or waits for."""
        return len(self._lines)

    @asynccontextmanager
    async def turn(self, origin: str, within: float) -> AsyncIterator[bool]:
        """A turn at an origin; False: there was none within so many seconds."""
        line = self._lines.setdefault(origin, _Line(self._each))
        line.length += 1
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(within):
                        # Who waits for its origin takes no place away from the others.
                        await stack.enter_async_context(line.places)
                        await stack.enter_async_context(self._all)
                except TimeoutError:
                    had = False
                else:
                    had = True
                yield had
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[origin]


class _Line:
    """Everybody who sends to an origin, or waits for it."""

    __slots__ = ("length", "places")

    def __init__(self, places: int) -> None:
        self.places: Final = asyncio.Semaphore(places)
        self.length = 0
