"""A queue of the receipts of every SMSC, which bounds those that are not acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, NamedTuple

from aoi_events.channels.sms.receipts import SmscReceipt

_UNANSWERED_AT_MOST: Final = 10_000
_ANSWERS_AT_MOST: Final = 100_000
_AT_ONCE: Final = 500


class QueuedReceipt(NamedTuple):
    """The name of an SMSC, its receipt, and what acknowledges the receipt to it, once."""

    smsc: str
    receipt: SmscReceipt
    acknowledge: Callable[[], None]


class ReceiptQueue:
    """Receipts in the order of their arrival; their reader acknowledges each when it is done with
    it, so that what is not processed when the process ends comes again.
    """

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[QueuedReceipt | None]] = asyncio.Queue()
        self._unanswered: Final[Counter[tuple[str, SmscReceipt]]] = Counter()
        self._answers = 0

    def put(self, smsc: str, receipt: SmscReceipt, acknowledge: Callable[[], None]) -> bool:
        """Add a receipt; False: too many are not acknowledged. One that comes again, perhaps over
        a new session, takes no place of another.
        """
        key = smsc, receipt
        room = key in self._unanswered or len(self._unanswered) < _UNANSWERED_AT_MOST
        if not room or self._answers >= _ANSWERS_AT_MOST:
            return False
        self._answers += 1
        self._unanswered[key] += 1
        self._queue.put_nowait(
            QueuedReceipt(smsc, receipt, partial(self._answer, key, acknowledge))
        )
        return True

    def close(self) -> None:
        """End `batches` for every reader, now and later."""
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

    def _answer(self, key: tuple[str, SmscReceipt], acknowledge: Callable[[], None]) -> None:
        self._answers -= 1
        self._unanswered[key] -= 1
        if not self._unanswered[key]:
            del self._unanswered[key]
        acknowledge()
