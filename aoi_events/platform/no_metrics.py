"""Metrics that count nothing: the default of everything that can count."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, cast

from aoi_events.ports.metrics import Metrics

_UNTIMED: Final = nullcontext()


def _not_counted(*_arguments: object, **_named: object) -> AbstractContextManager[object]:
    return _UNTIMED


_METHODS: Final = [name for name in dir(Metrics) if not name.startswith("_")]

NO_METRICS: Final = cast(Metrics, type("NoMetrics", (), dict.fromkeys(_METHODS, _not_counted))())
"""The one instance; it has no state."""
