"""Circuit breakers of one channel's providers, in the memory of one worker.

Every copy of a worker finds out for itself which providers are down. That costs each copy a few
attempts, and no copy depends on another whose own network may be broken.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aoi_events.channels.base.results import result_of
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
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
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.clock import Clock, Dice

log = get_logger(__name__)

_REMEMBERED: Final = 10_000
_PLAIN: Final = Breaker()
_POLICY: Final = BreakerPolicy()
_QUIET: Final = timedelta(minutes=1)
"""Time between two lines of the log on a host of which several URLs are down."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Permission to send one item to ``provider``; report its result to the breakers afterwards."""

    provider: str
    epoch: int


class Breakers:
    """One circuit breaker for each provider: ask before an item is sent, report its result after.

    Clients name providers (their hosts), so there may be many: the ``most`` breakers that changed
    last are remembered, every other provider counts as working. Of those whose names differ only
    after ``#``, like the URLs of one host, the first that goes down is logged, the last that is up
    again, and one change a minute while others are down, with the number of those that are.
    """

    def __init__(
        self,
        channel: str,
        *,
        policy: BreakerPolicy = _POLICY,
        clock: Clock | None = None,
        dice: Dice | None = None,
        most: int = _REMEMBERED,
    ) -> None:
        self.policy: Final = policy
        self._clock: Clock = clock or SystemClock()
        self._dice: Dice = dice or SystemDice()
        self._most = most
        self._known: OrderedDict[str, Breaker] = OrderedDict()
        self._down: Counter[str] = Counter()
        self._logged_at: OrderedDict[str, datetime] = OrderedDict()
        self._log = log.bind(channel=channel)

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """Every breaker that is not closed, by provider."""
        closed = BreakerState.CLOSED
        return {name: each for name, each in self._known.items() if each.state is not closed}

    def of(self, provider: str) -> Breaker:
        """The breaker of a provider."""
        return self._known.get(provider, _PLAIN)

    def ask(self, provider: str) -> Admission | None:
        """Permission to send to the provider now; None: it is down, see :meth:`unavailable`."""
        epoch = self._apply(provider, CallRequested())
        return None if epoch is None else Admission(provider, epoch)

    def refuses(self, provider: str) -> bool:
        """Whether :meth:`ask` would give no permission now; changes nothing."""
        breaker = self.of(provider)
        return (
            breaker.state is not BreakerState.CLOSED
            and self._decide(breaker, CallRequested()).epoch is None
        )

    def answered(self, admission: Admission) -> None:
        """Report that the provider answered, whether or not it accepted the message."""
        self._apply(admission.provider, CallAnswered(admission.epoch))

    def troubled(self, admission: Admission, why: str) -> None:
        """Report that the provider failed; ``why`` is for people, and contains no address."""
        self._apply(admission.provider, CallFailed(admission.epoch, why))

    def report(self, admission: Admission, works: bool | None, why: str) -> None:
        """Report whether the provider works; None: unknown."""
        if works is None:
            self.unknown(admission)
        elif works:
            self.answered(admission)
        else:
            self.troubled(admission, why)

    @contextmanager
    def watched(self, admission: Admission) -> Iterator[None]:
        """Around a block that sends: an exception in it, also cancellation, counts as `unknown`."""
        try:
            yield
        except BaseException:
            self.unknown(admission)
            raise

    def unknown(self, admission: Admission) -> None:
        """Report that nothing was sent, or that the result shows nothing about the provider."""
        self._apply(admission.provider, CallInconclusive(admission.epoch))

    def unreachable(self, provider: str, why: str) -> None:
        """Report that the provider cannot be reached, when no item was to be sent."""
        self._apply(provider, CallFailed(self.of(provider).epoch, why))

    def reachable(self, provider: str) -> None:
        """Report that the provider can be reached again: it may be probed."""
        self._apply(provider, ProviderReachable())

    def idle(self, provider: str) -> None:
        """Report that a connection to the provider lasted, without an item: failures before it are
        none in a row with those after it. One that is down stays down, for nothing was sent.
        """
        if (breaker := self.of(provider)).state is BreakerState.CLOSED:
            self._apply(provider, CallAnswered(breaker.epoch))

    def unavailable(self, provider: str, item: DeliverItem | ChallengeItem) -> SubmitResult:
        """The result of an item that was not sent because its provider is down."""
        breaker = self.of(provider)
        now = self._clock.now()
        wait = retry_delay(breaker, now=now, jitter=self._dice.jitter(), policy=self.policy)
        detail = f"the provider is down: {breaker.why}"
        return result_of(item, OutcomeKind.UNAVAILABLE, now, detail, retry_after=wait)

    def _apply(self, provider: str, fact: BreakerFact) -> int | None:
        before = self.of(provider)
        decision = self._decide(before, fact)
        after = decision.breaker
        if after != before:
            self._remember(provider, before, after)
        return decision.epoch

    def _decide(self, breaker: Breaker, fact: BreakerFact) -> BreakerDecision:
        now, jitter = self._clock.now(), self._dice.jitter()
        return decide(breaker, fact, now=now, jitter=jitter, policy=self.policy)

    def _remember(self, provider: str, before: Breaker, after: Breaker) -> None:
        self._known[provider] = after
        self._known.move_to_end(provider)
        others = self._count(provider, before, -1)
        self._count(provider, after, 1)
        while len(self._known) > self._most:
            self._count(*self._known.popitem(last=False), -1)
        if after.state is not before.state and after.state is not BreakerState.HALF_OPEN:
            host, now = provider.partition("#")[0], self._clock.now()
            logged_at = self._logged_at.get(host)
            if not others or logged_at is None or now - logged_at >= _QUIET:
                self._logged_at[host] = now
                self._log_change(provider, before, after, self._down[host])
            if len(self._logged_at) > self._most:
                self._logged_at.popitem(last=False)

    def _count(self, provider: str, breaker: Breaker, change: int) -> int:
        """Count a provider that is down; returns how many of the same host are."""
        host = provider.partition("#")[0]
        if breaker.state is not BreakerState.CLOSED:
            self._down[host] += change
        if not (down := self._down[host]):
            del self._down[host]
        return down

    def _log_change(self, provider: str, before: Breaker, after: Breaker, host_down: int) -> None:
        if after.state is BreakerState.CLOSED:
            self._log.info("provider_up", provider=provider, host_down=host_down)
            return
        down = self._log.warning if before.state is BreakerState.CLOSED else self._log.info
        fields = {"why": after.why, "openings": after.openings, "host_down": host_down}
        down("provider_down", provider=provider, **fields)
