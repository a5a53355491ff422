"""The circuit breaker of a provider: what it lets through, and that it always comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aoi_events.domain.providers.breaker import (
    Breaker,
    BreakerDecision,
    BreakerFact,
    BreakerPolicy,
    BreakerState,
    CallAnswered,
    CallFailed,
    CallInconclusive,
    CallRequested,
    ProviderReachable,
    decide,
    retry_delay,
)
from aoi_events.domain.retry import Backoff
from tests.support.histories import at
from tests.support.strategies import EPOCH, backoffs, jitters

POLICY = BreakerPolicy(
    failures=3, wait=Backoff(first=2.0, factor=2.0, ceiling=16.0), probes=1, probe_within=30.0
)


def _tell(breaker: Breaker, fact: BreakerFact, seconds: float) -> BreakerDecision:
    return decide(breaker, fact, now=at(seconds), jitter=1.0, policy=POLICY)


def _opened(seconds: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(POLICY.failures):
        breaker = _tell(breaker, CallFailed(breaker.epoch, "refused"), seconds).breaker
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """Two of three let everything through; the third opens it, and it says since when and why."""
    breaker = Breaker()
    for _ in range(2):
        breaker = _tell(breaker, CallFailed(0, "timed out"), 1).breaker
        assert _tell(breaker, CallRequested(), 1).epoch == 0
    breaker = _tell(breaker, CallFailed(0, "cannot be reached"), 1).breaker
    assert (breaker.state, breaker.since, breaker.until) == (BreakerState.OPEN, at(1), at(3))
    assert breaker.why == "cannot be reached"
    assert _tell(breaker, CallRequested(), 2.9).epoch is None


def test_an_answer_in_between_starts_the_count_anew() -> None:
    """A provider that answers now and then is slow, not down."""
    breaker = Breaker()
    for _ in range(10):
        breaker = _tell(breaker, CallFailed(0, "timed out"), 1).breaker
        breaker = _tell(breaker, CallAnswered(0), 1).breaker
    assert breaker == Breaker()


def test_one_probe_closes_it() -> None:
    """After its time one is let through and no other; what it hears closes the breaker."""
    probing = _tell(_opened(), CallRequested(), 2)
    assert probing.breaker.state is BreakerState.HALF_OPEN
    assert probing.epoch is not None
    assert _tell(probing.breaker, CallRequested(), 2.1).epoch is None
    closed = _tell(probing.breaker, CallAnswered(probing.epoch), 3).breaker
    assert closed == Breaker(epoch=closed.epoch)
    assert _tell(closed, CallRequested(), 3).epoch == closed.epoch


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    """Its time doubles up to the ceiling, and it is still the same outage."""
    breaker, now, waits = _opened(), 0.0, []
    for _ in range(5):
        assert breaker.until is not None
        waits.append((breaker.until - at(now)).total_seconds())
        now += waits[-1]
        probe = _tell(breaker, CallRequested(), now)
        assert probe.epoch is not None
        breaker = _tell(probe.breaker, CallFailed(probe.epoch, "still down"), now).breaker
    assert waits == [2, 4, 8, 16, 16]
    assert (breaker.since, breaker.why) == (at(0), "still down")


def test_late_word_says_nothing_about_now() -> None:
    """What was let through before it opened neither closes it nor keeps it open."""
    opened = _opened()
    assert _tell(opened, CallAnswered(0), 1).breaker == opened
    probing = _tell(opened, CallRequested(), 2).breaker
    assert _tell(probing, CallFailed(0, "timed out"), 2.5).breaker == probing


def test_a_probe_that_tells_nothing_makes_room_for_another() -> None:
    """It was cancelled: the next one that asks is the probe."""
    probing = _tell(_opened(), CallRequested(), 2)
    assert probing.epoch is not None
    freed = _tell(probing.breaker, CallInconclusive(probing.epoch), 2.1).breaker
    assert _tell(freed, CallRequested(), 2.2).epoch == probing.epoch


def test_a_probe_that_nobody_speaks_of_is_given_up() -> None:
    """Its worker is gone; another probe goes out in time, and the lost one's word is late."""
    lost = _tell(_opened(), CallRequested(), 2)
    assert lost.epoch is not None
    assert _tell(lost.breaker, CallRequested(), 31.9).epoch is None
    second = _tell(lost.breaker, CallRequested(), 32)
    assert second.epoch == lost.epoch + 1
    assert _tell(second.breaker, CallFailed(lost.epoch, "late"), 33).breaker == second.breaker


def test_a_clock_put_back_does_not_keep_it_open() -> None:
    """A time further away than the longest wait was set by another clock."""
    assert _tell(_opened(86_400), CallRequested(), 0).epoch is not None


@given(jitters(), st.floats(0.0, 20.0))
def test_who_is_held_back_comes_after_the_probe_and_spread(jitter: float, seconds: float) -> None:
    """Not before its time, not all at once, and never later than twice the longest wait."""
    breaker = _opened()
    held = retry_delay(breaker, now=at(seconds), jitter=jitter, policy=POLICY)
    left = max(2.0 - seconds, 0.0)
    assert left <= held + 1e-6
    assert held <= left + POLICY.wait.ceiling
    earliest = retry_delay(breaker, now=at(seconds), jitter=0.0, policy=POLICY)
    latest = retry_delay(breaker, now=at(seconds), jitter=1.0, policy=POLICY)
    assert latest - earliest == pytest.approx(2.0)
    probing = _tell(breaker, CallRequested(), 2).breaker
    assert retry_delay(probing, now=at(2), jitter=jitter, policy=POLICY) >= 1.0
    assert retry_delay(Breaker(), now=at(2), jitter=jitter, policy=POLICY) == 0.0


@pytest.mark.parametrize("failures, probes, within", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0)])
def test_limits_that_cannot_work_are_refused(failures: int, probes: int, within: float) -> None:
    """A policy with which a breaker could never open or never close is refused."""
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(failures, probes=probes, probe_within=within)


class Outages(RuleBasedStateMachine):
    """One provider, anybody who asks and tells in any order, and a clock that goes on."""

    @initialize(
        failures=st.integers(1, 4),
        wait=backoffs(),
        probes=st.integers(1, 3),
        probe_within=st.floats(0.1, 60.0),
        jitter=jitters(),
    )
    def begin(
        self, failures: int, wait: Backoff, probes: int, probe_within: float, jitter: float
    ) -> None:
        """Any policy."""
        self.policy = BreakerPolicy(failures, wait, probes, probe_within)
        self.jitter = jitter
        self.now = EPOCH
        self.breaker = Breaker()
        self.out: list[int] = []
        self.row = 0

    def _tell(self, fact: BreakerFact) -> BreakerDecision:
        before = self.breaker
        decision = decide(before, fact, now=self.now, jitter=self.jitter, policy=self.policy)
        after = self.breaker = decision.breaker
        assert (after.epoch > before.epoch) == (
            (after.state, after.openings) != (before.state, before.openings)
            or (isinstance(fact, CallRequested) and after.epoch != before.epoch)
        )
        if (
            isinstance(fact, CallAnswered | CallFailed | CallInconclusive)
            and fact.epoch != before.epoch
        ):
            assert after == before, "late word says nothing"
        return decision

    @rule()
    def ask(self) -> None:
        """Closed lets everything through, open nothing before its time."""
        before = self.breaker
        epoch = self._tell(CallRequested()).epoch
        if before.state is BreakerState.CLOSED:
            assert epoch == before.epoch
        if before.state is BreakerState.OPEN and before.until and self.now < before.until:
            assert epoch is None
        if epoch is not None:
            self.out.append(epoch)

    @rule()
    def reachable(self) -> None:
        """A link came up: an open breaker probes at once, and nothing else changes."""
        before = self.breaker
        self._tell(ProviderReachable())
        if before.state is BreakerState.OPEN:
            before = replace(before, until=self.now)
        assert self.breaker == before

    @precondition(lambda self: self.out)
    @rule(data=st.data(), kind=st.sampled_from(["answered", "troubled", "unknown", "lost"]))
    def told(self, data: st.DataObject, kind: str) -> None:
        """Word of something that was let through, in any order, or never any."""
        epoch = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker
        match kind:
            case "answered":
                self._tell(CallAnswered(epoch))
                assert epoch != before.epoch or self.breaker.state is BreakerState.CLOSED
            case "troubled":
                self._tell(CallFailed(epoch, "down"))
                in_time = epoch == before.epoch
                if in_time and before.state is BreakerState.HALF_OPEN:
                    assert self.breaker.state is BreakerState.OPEN
            case "unknown":
                self._tell(CallInconclusive(epoch))
            case _:
                pass  # lost: nobody ever speaks of it

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    @invariant()
    def bounded(self) -> None:
        """Probes are bounded, and a call after the longest wait is let through."""
        if not hasattr(self, "breaker"):
            return
        breaker = self.breaker
        assert 0 <= breaker.probes <= self.policy.probes
        assert (breaker.state is BreakerState.CLOSED) == (breaker.since is None)
        assert breaker.failures <= self.policy.failures
        longest = max(self.policy.wait.ceiling, self.policy.probe_within)
        later = self.now + timedelta(seconds=longest)
        asked = decide(breaker, CallRequested(), now=later, jitter=0.5, policy=self.policy)
        assert asked.epoch is not None, "every breaker lets something through again"
        probe = decide(
            asked.breaker, CallAnswered(asked.epoch), now=later, jitter=0.5, policy=self.policy
        ).breaker
        assert probe == replace(Breaker(), epoch=probe.epoch), "and one answer closes it"


Outages.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestOutages = Outages.TestCase
TestOutages.__doc__ = "Whatever happens: bounded probes, no late word, and always a way back."


@given(st.lists(st.booleans(), max_size=30), jitters())
def test_it_opens_exactly_after_failures_in_a_row(words: list[bool], jitter: float) -> None:
    """While closed, only the run of failures at the end counts."""
    breaker, run = Breaker(), 0
    now: datetime = EPOCH
    for answered in words:
        fact = CallAnswered(breaker.epoch) if answered else CallFailed(breaker.epoch, "down")
        breaker = decide(breaker, fact, now=now, jitter=jitter, policy=POLICY).breaker
        run = 0 if answered else run + 1
        assert (breaker.state is BreakerState.OPEN) == (run == POLICY.failures)
        if run == POLICY.failures:
            return
