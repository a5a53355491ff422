"""The frames of one browser that wait for their turn, bounded in octets and time; pure.

A browser sends all of its commands at once, and repeats none that was refused. So the session
queues them: frames until its hello is answered, then the commands above ``requests_in_flight``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.limiters import TokenBucket

_ENTRY: Final = 64
"""Octets that count for each frame beside its own, so that empty frames are bounded, too."""


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame that arrived at ``since``, in seconds since the gateway started."""

    data: bytes
    since: float

    @property
    def octets(self) -> int:
        """How much of the queue it takes."""
        return len(self.data) + _ENTRY


class FrameQueue:
    """Frames in the order in which they arrived.

    Frames leave the queue at any speed as long as they are no more than ``commands_burst``, and at
    ``frames_per_second`` then.
    """

    __slots__ = ("_bucket", "_frames", "_next_at", "_octets", "_settings")

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._frames: deque[QueuedFrame] = deque()
        self._octets = 0
        self._bucket = TokenBucket(rate=settings.frames_per_second, burst=settings.commands_burst)
        self._next_at = math.inf

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, data: str | bytes, elapsed: float) -> bool:
        """Add a frame; False when the queue is full."""
        frame = QueuedFrame(data.encode() if isinstance(data, str) else data, elapsed)
        if self._octets + frame.octets > self._settings.commands_octets:
            return False
        self._frames.append(frame)
        self._octets += frame.octets
        return True

    def pull(self, elapsed: float) -> QueuedFrame | None:
        """Remove the first frame whose turn it is; None when there is none now."""
        self._next_at = math.inf
        if not self._frames:
            return None
        if wait := self._bucket.take(elapsed):
            self._next_at = elapsed + wait
            return None
        return self._pop()

    def expire(self, elapsed: float) -> list[QueuedFrame]:
        """Remove the frames that have waited too long."""
        expired = []
        while self._frames and elapsed >= self._expiry():
            expired.append(self._pop())
        return expired

    def clear(self) -> list[QueuedFrame]:
        """Remove all frames."""
        frames = list(self._frames)
        self._frames.clear()
        self._octets = 0
        return frames

    def due(self) -> float | None:
        """When :meth:`pull` or :meth:`expire` returns a frame again, if time alone decides it."""
        return min(self._expiry(), self._next_at) if self._frames else None

    def _expiry(self) -> float:
        return self._frames[0].since + self._settings.commands_within

    def _pop(self) -> QueuedFrame:
        frame = self._frames.popleft()
        self._octets -= frame.octets
        return frame
