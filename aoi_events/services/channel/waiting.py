"""Receipts that wait until their outcome is published, or their message is not expected any more.

A receipt is acknowledged to its provider when it leaves: what a process did not finish before its
end, the provider sends again. The exception is a receipt whose message stays unknown. An SMSC sends
few receipts (often 1 to 10) before it waits for answers, and gives up after 10 to 60 s, so that
receipts of messages that are not ours would stop all others. The note of a submission normally
follows its receipt within milliseconds; so a receipt that was unknown for 1.5 s is acknowledged,
and is looked up for the rest of a minute. Then the submission is most likely a long one, of several
parts, and its note is in the memory of a process, too. One that is not sure, and perhaps none of
the provider's at all, is acknowledged after its first look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from aoi_events.ports.channel import Receipt

AT_MOST: Final = 10_000
"""Receipts that wait before no more are taken from the channel."""

# Between the first two look-ups of a receipt; then doubled.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
_UNANSWERED_AT_MOST: Final = 1.5
_WAIT_AT_MOST: Final = 60.0

_Key = tuple[str, str, bool, tuple[str, ...], bool]


@dataclass(eq=False, slots=True)
class Waiting:
    """A receipt, when it is looked up again, and for how long its message is unknown.

    ``unanswered``: what acknowledges it, several times if it came again meanwhile.
    """

    receipt: Receipt
    again_at: datetime
    unanswered: list[Callable[[], None]] = field(default_factory=list)
    _unknown_for: timedelta | None = None
    _looked_up_at: datetime | None = None
    _pause: float = _FIRST_PAUSE

    def acknowledge(self) -> None:
        """Acknowledge it, unless that was done."""
        while self.unanswered:
            self.unanswered.pop()()

    def unknown_for(self, now: datetime) -> timedelta:
        """For how long its message is known to be unknown: the time between look-ups that
        succeeded. While nothing can be looked up, submissions cannot be noted either.
        """
        before = self._unknown_for or timedelta()
        return before if self._looked_up_at is None else before + (now - self._looked_up_at)

    def waited(self, now: datetime) -> bool:
        """Whether a message that was submitted before it has had its time to be noted."""
        return self.unknown_for(now).total_seconds() >= _FIRST_PAUSE

    def look_up_failed(self, now: datetime) -> None:
        """Nothing could be looked up, or published."""
        self._looked_up_at = None
        self._try_later(now)

    def still_unknown(self, now: datetime) -> bool:
        """Its message was not found; False: its time is over. After a fault the first pause counts
        as time, or a store that fails now and then would keep it for good.
        """
        after_fault = self._looked_up_at is None and self._unknown_for is not None
        self._unknown_for = self.unknown_for(now) + timedelta(seconds=after_fault * _FIRST_PAUSE)
        if self._looked_up_at is None:
            self._pause = _FIRST_PAUSE
        self._looked_up_at = now
        seconds = self._unknown_for.total_seconds()
        if seconds >= _UNANSWERED_AT_MOST or not self.receipt.sure:
            self.acknowledge()
        self._try_later(now)
        return seconds <= _WAIT_AT_MOST

    def _try_later(self, now: datetime) -> None:
        """Try again after a pause, each longer than the one before."""
        self.again_at = now + timedelta(seconds=self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class WaitingReceipts:
    """Every kind of receipt of a message, and of each message that one ID may mean; the merge of
    outcomes chooses among the kinds.
    """

    def __init__(self) -> None:
        self._receipts: Final[dict[_Key, Waiting]] = {}

    @property
    def full(self) -> bool:
        """Whether no more should be taken for now."""
        return len(self._receipts) > AT_MOST

    def add(self, receipt: Receipt, now: datetime) -> None:
        """Add a receipt, to be looked up now; one that came again waits together with the first."""
        waiting = self._receipts.setdefault(_key(receipt), Waiting(receipt, now))
        waiting.unanswered.append(receipt.acknowledge)
        waiting.again_at = now

    def due(self, now: datetime) -> Sequence[Waiting]:
        """Those to be looked up now."""
        return [each for each in self._receipts.values() if each.again_at <= now]

    def remove(self, waiting: Waiting) -> None:
        """Acknowledge a receipt that is done."""
        del self._receipts[_key(waiting.receipt)]
        waiting.acknowledge()

    def remove_surplus(self) -> Sequence[Receipt]:
        """Remove and return the oldest that are acknowledged already, as many as are too many."""
        too_many = max(len(self._receipts) - AT_MOST, 0)
        surplus = [each for each in self._receipts.values() if not each.unanswered][:too_many]
        for each in surplus:
            self.remove(each)
        return [each.receipt for each in surplus]


def _key(receipt: Receipt) -> _Key:
    return (
        receipt.provider_message,
        receipt.kind,
        receipt.closes_channel,
        receipt.addresses,
        receipt.sure,
    )
