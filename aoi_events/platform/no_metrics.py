"""Metrics that count nothing: the default of everything that can count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final

from aoi_events.domain.providers.breaker import Breaker
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.channel import Sent
from aoi_events.ports.metrics import Change, Level, Limit, Metrics


class NoMetrics:
    """Metrics that count nothing."""

    _UNTIMED: Final = nullcontext()

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """Not counted."""
        return self._UNTIMED

    def published(self, outputs: Iterable[Outbound], now: datetime) -> None:
        """Not counted."""

    def unanswered(self, requests: Iterable[str]) -> None:
        """Not counted."""

    def deliveries(self, changes: Iterable[Change]) -> None:
        """Not counted."""

    def outcomes(self, outcomes: Iterable[tuple[str, str | None]]) -> None:
        """Not counted."""

    def parked(self, queue: str, codes: Iterable[str]) -> None:
        """Not counted."""

    def due(self, kind: str, rows: int, lags: Iterable[float] = ()) -> None:
        """Not counted."""

    def submitted(self, channel: str, results: Iterable[Sent]) -> None:
        """Not counted."""

    def watch_window(self, channel: str, in_use: Callable[[], int]) -> None:
        """Not watched."""

    def watch_breakers(self, channel: str, in_trouble: Callable[[], Mapping[str, Breaker]]) -> None:
        """Not watched."""

    def policy_reloaded(self, result: str) -> None:
        """Not counted."""

    def frame_received(self) -> None:
        """Not counted."""

    def frame_sent(self) -> None:
        """Not counted."""

    def closed(self, by: str | None, code: int | None) -> None:
        """Not counted."""

    def refused(self, limit: Limit) -> None:
        """Not counted."""

    def gave_up(self) -> None:
        """Not counted."""

    def answered(self, method: str, path: str, status: int | None, seconds: float | None) -> None:
        """Not counted."""

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Not watched."""

    def transaction(self, *, read_only: bool) -> AbstractContextManager[object]:
        """Not counted."""
        return self._UNTIMED

    def confirmed(self, results: Sequence[Published]) -> None:
        """Not counted."""

    def uncertain(self, publishes: int) -> None:
        """Not counted."""

    def reconnected(self, purpose: str) -> None:
        """Not counted."""


NO_METRICS: Final[Metrics] = NoMetrics()
"""The one instance; it has no state."""
