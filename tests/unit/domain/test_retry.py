"""Backoff: bounded, rising, spread, and never beyond the ceiling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.domain.retry import Backoff
from tests.support.strategies import backoffs, jitters

any_backoff = backoffs() | st.builds(
    Backoff,
    first=st.floats(0.001, 1.0),
    factor=st.floats(1.0, 1.1) | st.floats(1.0, 1e300),
    ceiling=st.floats(1.0, 1e6),
)


@given(any_backoff, st.integers(0, 10_000), jitters())
def test_delays_are_bounded(backoff: Backoff, retries: int, jitter: float) -> None:
    """Between half of the first delay and the ceiling, for any number of retries."""
    delay = backoff.delay(retries, jitter)
    assert backoff.first / 2 <= delay <= backoff.ceiling


@given(any_backoff, st.integers(0, 200), jitters())
def test_delays_never_fall(backoff: Backoff, retries: int, jitter: float) -> None:
    """With the same jitter each delay is at least the one before."""
    assert backoff.delay(retries, jitter) <= backoff.delay(retries + 1, jitter)


@given(any_backoff, st.integers(0, 100))
def test_half_of_each_delay_is_jitter(backoff: Backoff, retries: int) -> None:
    """A crowd that failed together spreads over half of the delay."""
    least, most = backoff.delay(retries, 0.0), backoff.delay(retries, 1.0)
    assert least == pytest.approx(most / 2)


def test_the_schedule() -> None:
    """1, 2, 4, … seconds up to five minutes."""
    assert [Backoff().delay(n, 1.0) for n in (0, 1, 2, 8, 9, 1000)] == [1, 2, 4, 256, 300, 300]


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 0.0},
        {"first": -1.0},
        {"first": 1e-9},
        {"factor": 0.5},
        {"factor": float("inf")},
        {"ceiling": 0.5},
        {"ceiling": float("inf")},
        {"first": float("nan")},
        {"factor": float("nan")},
    ],
)
def test_schedules_that_cannot_work_are_refused(bad: dict[str, float]) -> None:
    """A schedule without a wait, or with a shrinking one, is refused."""
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**bad)
