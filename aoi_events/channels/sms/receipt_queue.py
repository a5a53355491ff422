"""Receipts of every SMSC, as they come, until somebody listens; bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

from aoi_events.channels.sms.receipts import SmscReceipt

__all__ = ["Heard", "Inbox"]

_HELD: Final = 10_000
_AT_ONCE: Final = 500

Heard: TypeAlias = tuple[str, SmscReceipt]
"""An SMSC's name, and its receipt."""


class Inbox:
    """Whoever puts into a full one waits."""

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[Heard | None]] = asyncio.Queue(_HELD)

    async def put(self, smsc: str, receipt: SmscReceipt) -> None:
        """A receipt came."""
        await self._queue.put((smsc, receipt))

    def close(self) -> None:
        """End `batches`, once, and for whoever listens later."""
        if self._queue.full():  # the end must be heard; a receipt may be lost
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def batches(self) -> AsyncIterator[list[Heard]]:
        """Whatever waits at once; ends when it is closed."""
        while (first := await self._queue.get()) is not None:
            batch = [first]
            while len(batch) < _AT_ONCE and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put_nowait(None)
                    break
                batch.append(following)
            yield batch
        self._queue.put_nowait(None)  # for whoever else listens, or listens again
