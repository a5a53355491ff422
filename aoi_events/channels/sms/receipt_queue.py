"""A bounded queue of the receipts of every SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

from aoi_events.channels.sms.receipts import SmscReceipt

_CAPACITY: Final = 10_000
_AT_ONCE: Final = 500

QueuedReceipt: TypeAlias = tuple[str, SmscReceipt]
"""The name of an SMSC, and its receipt."""


class ReceiptQueue:
    """Receipts in the order of their arrival; `put` waits while the queue is full."""

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[QueuedReceipt | None]] = asyncio.Queue(_CAPACITY)

    async def put(self, smsc: str, receipt: SmscReceipt) -> None:
        """Add a receipt."""
        await self._queue.put((smsc, receipt))

    def close(self) -> None:
        """End `batches` for every reader, now and later."""
        if self._queue.full():  # the end must fit; a receipt may be lost
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def batches(self) -> AsyncIterator[list[QueuedReceipt]]:
        """Batches of all receipts that wait; ends when the queue is closed."""
        while (first := await self._queue.get()) is not None:
            batch = [first]
            while len(batch) < _AT_ONCE and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put_nowait(None)
                    break
                batch.append(following)
            yield batch
        self._queue.put_nowait(None)  # for other readers, and for later ones
