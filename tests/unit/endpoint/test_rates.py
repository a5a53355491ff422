"""Rate limits: bursts, refills, and memory that is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.endpoint.connection_limiter import Rates, network_of


def test_a_burst_and_then_the_rate() -> None:
    """So many at once; then as fast as the rate, and waiting as long as was said is enough."""
    rates = Rates(rate=2.0, burst=3)
    assert [rates.take("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rates.take("b", 10.0) == 0.0
    assert rates.take("a", 10.4) > 0
    assert rates.take("a", 10.5) == 0.0
    assert rates.take("a", 1000.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-5.0, 5.0)), max_size=60))
def test_memory_is_bounded_whatever_comes(calls: list[tuple[str, float]]) -> None:
    """Callers come and go, clocks jump: no more are kept than may be, and waits are sensible."""
    rates, at = Rates(rate=1.0, burst=2, most=3), 0.0
    for caller, step in calls:
        at += step
        assert 0.0 <= rates.take(caller, at) <= 1.0
        assert len(rates) <= 3


@pytest.mark.parametrize(
    "host, network",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:2:ffff::1", "2001:0db8:0001:0002::/64"),
        ("unix", "unix"),
        (None, ""),
    ],
)
def test_who_counts_as_one_address(host: str | None, network: str) -> None:
    """A household of IPv6 has 2^64 addresses, and is one sender."""
    assert network_of(host) == network
