"""A circuit breaker for one provider: an SMSC, a push service, the receiver of a webhook.

Theory of operation. Whoever wants to hand something to a provider asks first, and says afterwards
what came of it. After so many failures of the provider itself in a row (it cannot be reached, does
not answer, or says that it is broken) the breaker *opens*: nothing is let through, so that nobody
waits for a provider that is down. After a time that grows from opening to opening, up to a ceiling,
it is *half open*: a few probes are let through, and the first word of them closes it or opens it
again. A refusal that concerns one message is an answer: the provider works.

Rules, all of them held by property tests:

* Closed, everything is let through; open, nothing; half open, at most ``probes`` at once.
* What was let through before the last change of state says nothing about the provider now.
* A probe of which nobody ever speaks again (its worker was cancelled) is given up in time: asked
  often enough, every breaker lets something through again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from aoi_events.domain.retry import Backoff

__all__ = [
    "Answered",
    "Asked",
    "Breaker",
    "BreakerDecision",
    "BreakerFact",
    "BreakerPolicy",
    "BreakerState",
    "Reachable",
    "Troubled",
    "Unknown",
    "decide",
    "hold_for",
]


class BreakerState(StrEnum):
    """What a breaker does with what asks."""

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
    """What is known of one provider.

    ``epoch`` rises with every change of state and names what was let through since. ``failures`` in
    a row while closed; ``openings`` since it was closed last. ``until``: when it may be probed, or,
    half open, when its probes count as lost. ``since``: when it opened first after it was closed;
    ``why``: what failed last.
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
class Asked:
    """Somebody wants to hand something to the provider."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The provider answered what was let through in ``epoch``, whatever it said of the message."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Troubled:
    """The provider itself failed what was let through in ``epoch``; ``why`` is for people."""

    epoch: int
    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """What was let through in ``epoch`` ended, and says nothing about the provider."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Reachable:
    """The provider can be reached again (a link to it is up): it may be probed at once."""


BreakerFact = Asked | Answered | Troubled | Unknown | Reachable


@dataclass(frozen=True, slots=True)
class BreakerDecision:
    """The breaker after a fact.

    ``epoch``: what asked is let through, and gives this back with what came of it; None: it is not,
    or nothing asked.
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
    """What becomes of ``breaker`` by ``fact`` at ``now``; ``jitter`` in [0, 1] spreads probes."""
    match fact:
        case Asked():
            return _ask(breaker, now, policy)
        case Reachable():
            is_open = breaker.state is BreakerState.OPEN
            return BreakerDecision(replace(breaker, until=now) if is_open else breaker)
        case Answered() | Troubled() | Unknown() if fact.epoch != breaker.epoch:
            return BreakerDecision(breaker)
        case Answered():
            return BreakerDecision(_answered(breaker))
        case Troubled(_, why):
            return BreakerDecision(_troubled(replace(breaker, why=why), now, jitter, policy))
        case Unknown():
            return BreakerDecision(replace(breaker, probes=max(breaker.probes - 1, 0)))
        case _:
            assert_never(fact)


def hold_for(
    breaker: Breaker, *, now: datetime, jitter: float, policy: BreakerPolicy = BreakerPolicy()
) -> float:
    """Seconds after which what was not let through may ask again.

    Spread by ``jitter`` over as long as the breaker waits, so that those who were held back
    do not come back together, and first of all those that probe.
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
        # The next probes, or others in place of probes that nobody spoke of.
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
    """Whether a time has come; one that is further away than any was set by a clock put back."""
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
