"""The token bucket that bounds what a device may send."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aoi_events.gateway.protocol.token_bucket import Allowance, Charge


@settings(deadline=None)
@given(
    gaps=st.lists(st.floats(0, 10), max_size=200),
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 50),
)
def test_no_more_than_burst_and_rate_are_fine(gaps: list[float], rate: float, burst: int) -> None:
    """In any stretch from the start, at most burst plus rate times the time passed are fine."""
    allowance, elapsed, fine = Allowance(burst), 0.0, 0
    for gap in gaps:
        elapsed += gap
        fine += allowance.charge(elapsed, rate=rate, burst=burst) is Charge.FINE
        assert fine <= burst + rate * elapsed + 1e-6


def test_time_that_stands_still_or_runs_back_gives_nothing() -> None:
    """A clock that is set back neither refills nor breaks the bucket."""
    allowance = Allowance(1)
    assert allowance.charge(100.0, rate=1, burst=1) is Charge.FINE
    assert allowance.charge(50.0, rate=1, burst=1) is Charge.REFUSE
    assert allowance.charge(50.0, rate=1, burst=1) is Charge.STOP
