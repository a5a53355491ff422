"""Whether the gateway's queue takes messages, as a state machine without I/O or clock.

Theory of operation. A probe is a small message that the gateway publishes to its own queue and
consumes from it. Every ``every`` seconds one is sent; the queue is *proved* from the moment when
one comes back until a later one fails to. A queue whose probe fails counts as gone, although its
connection may be up: a broker whose nodes were apart can delete an exclusive queue under a live
consumer. The gateway then opens another queue, over new connections::

    (opened) -> SENT       came back -> PROVED;  returned, or not back within patience -> GONE
    PROVED   -> SENT       after ``every`` seconds
    GONE     -> SENT       when the next queue is open; not open within patience -> GONE again

Patience is ``within`` at first and doubles with each queue that fails, up to a limit, so that a
broker which is only slow is not given more work. It begins anew with each message that arrives,
as a probe waits behind others, and when the broker no longer blocks publishers. Probes have
numbers: what is about an earlier one has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MOST_FAILURES: Final = 3
"""Queues that fail one after another and double the patience: from 3 s to 24 s."""
_NOT_YET: Final = "no probe has come back through the new queue yet"


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Publish the probe with this number to the present queue."""

    number: int


@dataclass(frozen=True, slots=True)
class ReopenQueue:
    """Connect again and open another queue: the present one counts as gone."""

    reason: str


Effect = SendProbe | ReopenQueue


class QueueProbe:
    """The probes of one gateway, over all its queues. Times are seconds since it started."""

    def __init__(self, *, every: float, within: float) -> None:
        self.fault: str | None = _NOT_YET
        """Why it is not proved that the queue takes messages; None: it is proved."""
        self._every = every
        self._within = within
        self._failures = 0
        self._number = 0
        self._sent_at: float | None = None
        self._due: float | None = None
        self._gone_at: float | None = None

    def opened(self, elapsed: float) -> SendProbe:
        """A queue is open, in the place of any earlier one."""
        self._gone_at = None
        if self.fault is None:
            self.fault = _NOT_YET
        return self._send(elapsed)

    def tick(self, elapsed: float, *, blocked: bool) -> Effect | None:
        """Time has passed; ``blocked``: the broker lets this gateway publish nothing."""
        if self._gone_at is not None:
            if elapsed >= self._gone_at + self._patience():
                return self._lose("no other queue was opened in time", elapsed)
        elif self._sent_at is not None:
            if blocked:
                self.fault = "the broker blocks publishers: it has a memory or disk alarm"
                self._sent_at = elapsed
            elif elapsed >= self._sent_at + self._patience():
                return self._lose("a probe did not come back in time", elapsed)
        elif self._due is not None and elapsed >= self._due:
            return self._send(elapsed)
        return None

    def arrived(self, elapsed: float) -> None:
        """A message arrived on the queue: its consumer lives."""
        if self._sent_at is not None:
            self._sent_at = elapsed

    def came_back(self, number: int, elapsed: float) -> None:
        """A probe arrived."""
        if self._ends(number):
            self.fault = None
            self._failures = 0
            self._due = elapsed + self._every

    def unpublished(self, number: int, reason: str, elapsed: float) -> None:
        """A probe could not be published: another one follows, the queue may be in order."""
        if self._ends(number):
            self.fault = f"a probe could not be published: {reason}"
            self._due = elapsed + self._every

    def returned(self, number: int, elapsed: float) -> Effect | None:
        """The broker returned a probe as unroutable."""
        if not self._ends(number):
            return None
        return self._lose("the broker has no such queue (a probe was returned)", elapsed)

    def unreachable(self, elapsed: float) -> Effect | None:
        """Messages of workers were returned, so the queue is gone, although probes came back. No
        effect while the queue is not proved.
        """
        if self.fault is not None:
            return None
        return self._lose("messages of workers to this queue were returned", elapsed)

    def _send(self, elapsed: float) -> SendProbe:
        self._number += 1
        self._sent_at = elapsed
        return SendProbe(self._number)

    def _ends(self, number: int) -> bool:
        if self._sent_at is None or number != self._number:
            return False
        self._sent_at = None
        return True

    def _lose(self, reason: str, elapsed: float) -> ReopenQueue:
        self.fault = reason
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._sent_at = None
        self._due = None
        self._gone_at = elapsed
        return ReopenQueue(reason)

    def _patience(self) -> float:
        return self._within * 2.0**self._failures
