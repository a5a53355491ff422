"""Notifications: the content and options of a send request, stored once for all its deliveries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aoi_events.contracts.identifiers import Mode, Urgency

if TYPE_CHECKING:
    from aoi_events.contracts.content import Content
    from aoi_events.contracts.requests import SendNotificationV1


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """A token of the request that was rejected, stored so that a repeat gets the same answer."""

    index: int
    fingerprint: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of one sender. ``tombstone``: cancelled before it was sent.

    A tombstone is stored as long as retention keeps settled rows; its ``expires_at`` means nothing.
    ``deliveries`` are the (index, delivery ID) pairs and ``rejected`` the rejected tokens of the
    answer, so that a repeated request is answered from here. ``mode`` and ``hedge_after`` (seconds)
    are the sender's, if the request had them.
    """

    sender: str
    id: str
    body_hash: str
    accepted_at: datetime
    expires_at: datetime
    content: Content | None = None
    urgency: Urgency = Urgency.NORMAL
    ttl: int = 0
    deliveries: tuple[tuple[int, str], ...] = ()
    rejected: tuple[RejectedEntry, ...] = ()
    tombstone: bool = False
    mode: Mode | None = None
    hedge_after: float | None = None


def body_hash(request: SendNotificationV1) -> str:
    """A hash that is equal for equal requests: the same ID with another body is a conflict."""
    return hashlib.sha256(request.encode()).hexdigest()
