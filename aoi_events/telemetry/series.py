"""Makes the Prometheus metrics of the catalogue, with bounded labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aoi_events.telemetry.catalogue import CATALOGUE, NONE, OTHER, Definition

M = TypeVar("M", Counter, Gauge, Histogram)


class Batch:
    """Measures a batch: its messages and the seconds of its block, unless that raises."""

    __slots__ = ("_messages", "_seconds", "_size", "_started")

    def __init__(self, messages: Histogram, seconds: Histogram, size: int) -> None:
        self._messages = messages
        self._seconds = seconds
        self._size = size

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._messages.observe(self._size)
            self._seconds.observe(time.perf_counter() - self._started)


class Series(Generic[M]):
    """The children of one metric by the values of its labels, all of which are bounded."""

    __slots__ = ("_known", "_metric", "_values")

    def __init__(self, metric: M, values: Sequence[frozenset[str]]) -> None:
        self._metric: M = metric
        self._values = values
        self._known: dict[tuple[str | None, ...], M] = {}

    def __call__(self, *values: str | None) -> M:
        """The child for these values; None counts as *none*, an unknown value as *other*."""
        known = self._known.get(values)
        if known is not None:
            return known
        bounded = [
            NONE if value is None else value if value in allowed else OTHER
            for value, allowed in zip(values, self._values, strict=True)
        ]
        child: M = self._metric.labels(*bounded) if bounded else self._metric
        if OTHER not in bounded:  # else unknown values from outside would fill the cache
            self._known[values] = child
        return child


class Maker:
    """Makes the metrics of the catalogue in a registry, for one installation."""

    def __init__(
        self, registry: CollectorRegistry, installed: Mapping[str, frozenset[str]]
    ) -> None:
        self._registry = registry
        self._installed = installed
        self._definitions = {each.name: each for each in CATALOGUE}

    def counter(self, name: str) -> Series[Counter]:
        """The counter of that name."""
        each = self._definitions[name]
        metric = Counter(name, each.meaning, _names(each), registry=self._registry)
        return Series(metric, self._values(each))

    def gauge(self, name: str) -> Series[Gauge]:
        """The gauge of that name."""
        each = self._definitions[name]
        metric = Gauge(name, each.meaning, _names(each), registry=self._registry)
        return Series(metric, self._values(each))

    def histogram(self, name: str) -> Series[Histogram]:
        """The histogram of that name."""
        each = self._definitions[name]
        metric = Histogram(
            name, each.meaning, _names(each), registry=self._registry, buckets=each.buckets
        )
        return Series(metric, self._values(each))

    def _values(self, definition: Definition) -> list[frozenset[str]]:
        return [
            self._installed[label.name] if label.values is None else label.values
            for label in definition.labels
        ]


def _names(definition: Definition) -> tuple[str, ...]:
    return tuple(label.name for label in definition.labels)
