"""Waiting for what a fake server has received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.support.limits import WITHIN


class Observable:
    """A fake whose tests wait until something about it is true."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when ``holds()`` is true; it is called whenever something arrived."""
        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(lambda: bool(holds()))

    async def wake(self) -> None:
        """Let every ``until`` look again."""
        async with self._changed:
            self._changed.notify_all()
