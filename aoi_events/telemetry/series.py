"""Makes the Prometheus metrics of the catalogue, with bounded labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aoi_events.telemetry.catalogue import CATALOGUE, NONE, OTHER

M = TypeVar("M", Counter, Gauge, Histogram)


@contextmanager
def measured(messages: Histogram, seconds: Histogram, size: int) -> Iterator[None]:
    """Measure a batch: its messages and the seconds of its block, unless that raises."""
    started = time.perf_counter()
    yield
    messages.observe(size)
    seconds.observe(time.perf_counter() - started)


class Series(Generic[M]):
    """The children of one metric by the values of its labels, all of which are bounded."""

    __slots__ = ("_known", "_metric", "_values")

    def __init__(self, metric: M, values: Sequence[Set[str]]) -> None:
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

    def __init__(self, registry: CollectorRegistry, installed: Mapping[str, Set[str]]) -> None:
        self._registry = registry
        self._installed = installed
        self._definitions = {each.name: each for each in CATALOGUE}

    def counter(self, name: str) -> Series[Counter]:
        """The counter of that name."""
        return self._series(Counter, name)

    def gauge(self, name: str) -> Series[Gauge]:
        """The gauge of that name."""
        return self._series(Gauge, name)

    def histogram(self, name: str) -> Series[Histogram]:
        """The histogram of that name."""
        return self._series(Histogram, name, buckets=self._definitions[name].buckets)

    def _series(self, kind: type[M], name: str, **options: Any) -> Series[M]:
        each = self._definitions[name]
        labels = [label.name for label in each.labels]
        values = [
            self._installed[label.name] if label.values is None else label.values
            for label in each.labels
        ]
        return Series(kind(name, each.meaning, labels, registry=self._registry, **options), values)
