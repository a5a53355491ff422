"""The health of a channel's providers, as one worker sees it; stored for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aoi_events.domain.providers.breaker import BreakerState

FRESH: Final = timedelta(seconds=60)
"""Health that was noted longer ago belongs to a worker that no longer runs."""


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """The state of ``provider`` of ``channel`` as ``worker`` saw it at ``seen_at``.

    An empty ``provider`` stands for all providers that the worker does not name: it serves the
    channel. ``since``: when the breaker opened; ``until``: when the provider is probed next;
    ``why`` in words for people.
    """

    channel: str
    worker: str
    provider: str
    state: BreakerState
    seen_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    why: str = ""
