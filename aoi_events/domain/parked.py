"""Parked messages: set aside with a reason, for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["ParkedMessage"]


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that could not be handled.

    ``replayable`` is false when something of it was redacted or cut off; ``obstacle`` says what.
    ``headers`` and ``body`` are bounded. ``deliveries`` that it was about stay traceable.
    """

    id: str
    parked_at: datetime
    queue: str
    routing_key: str
    exchange: str
    sender: str
    code: str
    reason: str
    body: bytes
    replayable: bool
    obstacle: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
