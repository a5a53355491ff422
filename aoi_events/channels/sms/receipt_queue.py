"""A bounded queue of the receipts of every SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from aoi_events.channels.sms.receipts import SmscReceipt

_CAPACITY: Final = 10_000
_AT_ONCE: Final = 500


class QueuedReceipt(NamedTuple):
    """The name of an SMSC, its receipt, and what acknowledges the receipt to it."""

    smsc: str
    receipt: SmscReceipt
    acknowledge: Callable[[], None]


class ReceiptQueue:
    """Receipts in the order of their arrival, acknowledged once their reader is done with them."""

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[QueuedReceipt | None]] = asyncio.Queue(_CAPACITY)

    def put(self, receipt: QueuedReceipt) -> bool:
        """Add a receipt; False: the queue is full."""
        if self._queue.full():
            return False
        self._queue.put_nowait(receipt)
        return True

    def close(self) -> None:
        """End `batches` for every reader, now and later."""
        if self._queue.full():  # the end must fit; its SMSC sends a receipt again
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def batches(self) -> AsyncIterator[list[QueuedReceipt]]:
        """Batches of all receipts that wait; ends when the queue is closed.

        A batch is acknowledged when its reader asks for the next one: what is not processed when
        the process ends comes again.
        """
        while (first := await self._queue.get()) is not None:
            batch = [first]
            while len(batch) < _AT_ONCE and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put_nowait(None)
                    break
                batch.append(following)
            yield batch
            for each in batch:
                each.acknowledge()
        self._queue.put_nowait(None)  # for other readers, and for later ones
