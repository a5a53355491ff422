"""Token buckets, rate limits and connection limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi_events.platform.limiters import ConnectionLimiter, RateLimiter, TokenBucket, network_of

_gaps = st.lists(st.floats(0, 10), max_size=200)


@settings(deadline=None)
@given(gaps=_gaps, rate=st.floats(0.1, 100), burst=st.integers(1, 50))
def test_no_more_than_burst_and_rate_pass(gaps: list[float], rate: float, burst: int) -> None:
    """From the start, at most ``burst`` plus ``rate`` times the passed time are allowed."""
    bucket, overdrawn = TokenBucket(rate=rate, burst=burst), TokenBucket(rate=rate, burst=burst)
    at, taken, covered = 0.0, 0, 0
    for gap in gaps:
        at += gap
        taken += bucket.take(at) == 0.0
        covered += overdrawn.overdraw(at) >= 0
        assert covered <= taken <= burst + rate * at + 1e-6


def test_a_refused_event_is_not_counted() -> None:
    """Repeated attempts cost nothing: the wait that was returned is enough."""
    bucket = TokenBucket(rate=2.0, burst=3)
    assert [bucket.take(10.0) for _ in range(20)] == [0.0] * 3 + [0.5] * 17
    assert bucket.take(10.4) == pytest.approx(0.1)
    assert bucket.take(10.5) == 0.0
    assert bucket.take(1000.0) == 0.0


def test_an_overdrawn_bucket_goes_into_debt() -> None:
    """Every overdraw is counted, and the debt is paid by the rate."""
    bucket = TokenBucket(rate=1.0, burst=2)
    assert [bucket.overdraw(0.0) for _ in range(5)] == [1.0, 0.0, -1.0, -2.0, -3.0]
    assert bucket.overdraw(4.0) == 0.0


def test_a_clock_that_is_set_back_refills_nothing() -> None:
    """Time that stands still or runs back neither refills nor breaks the bucket."""
    bucket = TokenBucket(rate=1.0, burst=1)
    assert bucket.overdraw(100.0) == 0.0
    assert bucket.overdraw(50.0) == -1.0
    assert bucket.overdraw(50.0) == -2.0


def test_keys_are_limited_separately() -> None:
    """One key at its limit does not affect another."""
    limiter = RateLimiter(rate=2.0, burst=3)
    assert [limiter.take("a", 0.0) == 0.0 for _ in range(5)] == [True] * 3 + [False] * 2
    assert limiter.take("b", 0.0) == 0.0
    assert [limiter.take("a", 1.0) == 0.0 for _ in range(3)] == [True, True, False]


def test_the_least_recently_used_key_is_dropped() -> None:
    """Of more keys than are remembered, the least recently used one starts anew."""
    limiter = RateLimiter(rate=0.001, burst=1, remembered=3)
    assert [limiter.take(key, 0.0) for key in "abc"] == [0.0] * 3
    assert limiter.take("a", 0.0) > 0
    assert limiter.take("d", 0.0) == 0.0
    assert len(limiter) == 3
    assert limiter.take("a", 0.0) > 0
    assert limiter.take("b", 0.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-5.0, 5.0)), max_size=60))
def test_memory_and_waits_are_bounded(events: list[tuple[str, float]]) -> None:
    """Whatever keys come and however clocks jump, memory and waits stay within their bounds."""
    limiter, at = RateLimiter(rate=1.0, burst=2, remembered=3), 0.0
    for key, step in events:
        at += step
        assert 0.0 <= limiter.take(key, at) <= 1.0
        assert len(limiter) <= 3


def test_connections_are_counted_per_network() -> None:
    """One network at its limit does not affect another, and leaving makes room."""
    limiter = ConnectionLimiter(most=2)
    assert [limiter.enter("a") for _ in range(3)] == [True, True, False]
    assert limiter.enter("b")
    for _ in range(2):
        limiter.leave("a")
    assert limiter.enter("a")
    for network in "aab":
        limiter.leave(network)
    assert not len(limiter)


@pytest.mark.parametrize(
    "host, network",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        (None, ""),
    ],
)
def test_the_network_of_a_host(host: str | None, network: str) -> None:
    """An IPv4 address counts for itself, an IPv6 address for its /64 network."""
    assert network_of(host) == network
