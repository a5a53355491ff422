"""Limits on items that are sent at once: in each lane, and over all lanes.

The wait for a slot is no part of a request. So a slow provider is blamed for its own slowness only,
and no provider is blamed because the worker is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary


class ConcurrencyLimit:
    """Slots for items: at most ``each`` in one lane, and ``overall`` in all lanes."""

    def __init__(self, *, each: int, overall: int) -> None:
        self._each = each
        self._overall: Final = asyncio.Semaphore(overall)
        # A lane exists as long as an item refers to it.
        self._lanes: Final = WeakValueDictionary[str, asyncio.Semaphore]()

    def __len__(self) -> int:
        """How many lanes are in use: an item is sent in them, or waits for a slot."""
        return len(self._lanes)

    @asynccontextmanager
    async def slot(self, lane: str, within: float) -> AsyncIterator[bool]:
        """A slot in a lane while the block runs; False: none was free within so many seconds."""
        own = self._lanes.setdefault(lane, asyncio.Semaphore(self._each))
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(within):
                    # An item that waits in its lane takes no slot away from other lanes.
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._overall)
            except TimeoutError:
                has_slot = False
            else:
                has_slot = True
            yield has_slot
