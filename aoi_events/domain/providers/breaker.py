"""A circuit breaker for one provider: an SMSC, a push service, the receiver of a webhook.

Theory of operation. A channel asks the breaker before each call of the provider, and reports the
result. After a number of consecutive failures of the provider itself (it cannot be reached, does
not answer, or reports that it is broken) the breaker *opens*: no call is let through, so that no
delivery waits for a provider that is down. After a time that grows from opening to opening, up to a
ceiling, it is *half open*: a few probes are let through, and the first result of them closes it or
opens it again. A refusal that concerns one message is an answer: the provider works.

Rules, all of them tested by properties:

* Closed, every call is let through; open, none; half open, at most ``probes`` at once.
* A call that was let through before the last change of state does not count for the present state.
* A probe without any result (its worker was cancelled) is given up in time: asked often enough,
  every breaker lets calls through again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from aoi_events.domain.retry import Backoff


class BreakerState(StrEnum):
    """The state of a breaker: which calls it lets through."""

    CLOSED = "closed"
    """The provider works: everything is let through."""
    OPEN = "open"
    """The provider is down: nothing is let through before a time."""
    HALF_OPEN = "half_open"
    """The provider is being probed."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open and for how long.

    ``failures`` in a row open it. ``wait``: seconds until the next probe, growing with every
    opening. ``probes`` are let through at once while it is half open, and count as lost after
    ``probe_within`` seconds. Raises ValueError for limits that could never open or never close it.
    """

    failures: int = 5
    wait: Backoff = Backoff(first=2.0, factor=2.0, ceiling=60.0)
    probes: int = 1
    probe_within: float = 60.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.probes < 1 or not 0 < self.probe_within <= 3_600:
            raise ValueError(
                "a breaker needs at least one failure to open and one probe to close, and at most "
                "an hour for a probe"
            )


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one provider's breaker.

    ``epoch`` rises with every change of state and names the calls that were let through since.
    ``failures`` in a row while closed; ``openings`` since it was closed last. ``until``: when it
    may be probed, or, half open, when its probes count as lost. ``since``: when it opened first
    after it was closed; ``why``: the last failure.
    """

    state: BreakerState = BreakerState.CLOSED
    epoch: int = 0
    failures: int = 0
    openings: int = 0
    probes: int = 0
    until: datetime | None = None
    since: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class CallRequested:
    """A call of the provider is about to be made."""


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """A call of ``epoch`` was answered, whether or not the message was accepted."""

    epoch: int


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A call of ``epoch`` failed because of the provider itself; ``why`` is for people."""

    epoch: int
    why: str


@dataclass(frozen=True, slots=True)
class CallInconclusive:
    """A call of ``epoch`` ended without any information about the provider."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ProviderReachable:
    """The provider can be reached again (a connection to it is up): it may be probed at once."""


BreakerFact = CallRequested | CallAnswered | CallFailed | CallInconclusive | ProviderReachable


@dataclass(frozen=True, slots=True)
class BreakerDecision:
    """The breaker after a fact.

    ``epoch``: the call is let through, and its result must name this epoch; None: it is not, or
    there was no call.
    """

    breaker: Breaker
    epoch: int | None = None


def decide(
    breaker: Breaker,
    fact: BreakerFact,
    *,
    now: datetime,
    jitter: float,
    policy: BreakerPolicy = BreakerPolicy(),
) -> BreakerDecision:
    """Decide the effect of ``fact`` on ``breaker`` at ``now``; ``jitter`` in [0, 1]
    spreads probes.
    """
    match fact:
        case CallRequested():
            return _ask(breaker, now, policy)
        case ProviderReachable():
            is_open = breaker.state is BreakerState.OPEN
            return BreakerDecision(replace(breaker, until=now) if is_open else breaker)
        case CallAnswered() | CallFailed() | CallInconclusive() if fact.epoch != breaker.epoch:
            return BreakerDecision(breaker)
        case CallAnswered():
            return BreakerDecision(_answered(breaker))
        case CallFailed(_, why):
            return BreakerDecision(_troubled(replace(breaker, why=why), now, jitter, policy))
        case CallInconclusive():
            return BreakerDecision(replace(breaker, probes=max(breaker.probes - 1, 0)))
        case _:
            assert_never(fact)


def retry_delay(
    breaker: Breaker, *, now: datetime, jitter: float, policy: BreakerPolicy = BreakerPolicy()
) -> float:
    """Seconds until a call that was not let through may ask again.

    Spread by ``jitter`` over as long as the breaker waits, so that waiting calls do not come back
    together, and the probes come first.
    """
    if breaker.state is BreakerState.CLOSED:
        return 0.0
    wait = policy.wait.delay(max(breaker.openings - 1, 0), jitter)
    if breaker.state is BreakerState.HALF_OPEN or breaker.until is None:
        return wait
    left = min((breaker.until - now) / timedelta(seconds=1), policy.wait.ceiling)
    return max(left, 0.0) + wait * jitter


def _ask(breaker: Breaker, now: datetime, policy: BreakerPolicy) -> BreakerDecision:
    if breaker.state is BreakerState.CLOSED:
        return BreakerDecision(breaker, breaker.epoch)
    if breaker.until is None or _has_come(breaker.until, now, policy):
        # The next probes, or others in place of probes without a result.
        probed = replace(
            breaker,
            state=BreakerState.HALF_OPEN,
            epoch=breaker.epoch + 1,
            probes=1,
            until=now + timedelta(seconds=policy.probe_within),
        )
        return BreakerDecision(probed, probed.epoch)
    if breaker.state is BreakerState.HALF_OPEN and breaker.probes < policy.probes:
        return BreakerDecision(replace(breaker, probes=breaker.probes + 1), breaker.epoch)
    return BreakerDecision(breaker)


def _has_come(until: datetime, now: datetime, policy: BreakerPolicy) -> bool:
    """Whether a time has passed; a time further away than any that is set counts as passed, because
    the clock was put back.
    """
    most = max(policy.wait.ceiling, policy.probe_within)
    return now >= until or until - now > timedelta(seconds=most)


def _answered(breaker: Breaker) -> Breaker:
    if breaker.state is BreakerState.CLOSED:
        return replace(breaker, failures=0, why="") if breaker.failures else breaker
    return Breaker(epoch=breaker.epoch + 1)


def _troubled(breaker: Breaker, now: datetime, jitter: float, policy: BreakerPolicy) -> Breaker:
    if breaker.state is BreakerState.CLOSED and breaker.failures + 1 < policy.failures:
        return replace(breaker, failures=breaker.failures + 1)
    return replace(
        breaker,
        state=BreakerState.OPEN,
        epoch=breaker.epoch + 1,
        failures=policy.failures,
        openings=breaker.openings + 1,
        probes=0,
        until=now + timedelta(seconds=policy.wait.delay(breaker.openings, jitter)),
        since=breaker.since or now,
    )
