"""Values of metrics, for tests of what is counted."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aoi_events.telemetry.prometheus import PrometheusMetrics
from tests.support.limits import WITHIN

_LOOK_AGAIN = 0.02
"""Seconds between two looks at a metric."""


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float:
    """The sum of all samples of ``name`` that have at least these labels; 0 for none."""
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def counted(metrics: PrometheusMetrics, number: float, name: str, **labels: str) -> None:
    """Wait until the value is at least ``number``, then assert that it is not more.

    Much is counted after a change is committed, published or answered, so that a test that has
    seen the change may be earlier than the count.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(WITHIN):
            while value(metrics, name, **labels) < number:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(_LOOK_AGAIN)
    assert value(metrics, name, **labels) == number, f"{name} {labels}"
