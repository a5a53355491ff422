"""Whose turn it is to be sent: so many items of one lane at once, and so many in all.

The wait for a turn is no part of a request, so that whoever is slow is blamed for its own slowness
only, and a worker's busy hour for nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

__all__ = ["Turns"]


class Turns:
    """``each``: items of one lane at once; ``overall``: in all."""

    def __init__(self, *, each: int, overall: int) -> None:
        self._each = each
        self._all: Final = asyncio.Semaphore(overall)
        self._lines: Final[dict[str, _Line]] = {}

    def __len__(self) -> int:
        """Lanes that somebody sends in, or waits for."""
        return len(self._lines)

    @asynccontextmanager
    async def turn(self, lane: str, within: float) -> AsyncIterator[bool]:
        """A turn in a lane; False: there was none within so many seconds."""
        line = self._lines.setdefault(lane, _Line(self._each))
        line.length += 1
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(within):
                        # Who waits in its lane takes no place away from the others.
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
                del self._lines[lane]


class _Line:
    """Everybody who sends in a lane, or waits for it."""

    __slots__ = ("length", "places")

    def __init__(self, places: int) -> None:
        self.places: Final = asyncio.Semaphore(places)
        self.length = 0
