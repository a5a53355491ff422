"""The circuit breakers of one channel's providers, as one worker knows them.

Every copy of a worker learns for itself which providers are down: that costs each of them a few
tries, and none depends on the word of another whose network may be the one that is broken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aoi_events.channels.base.results import ended
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.providers.breaker import (
    Breaker,
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
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import Sent
from aoi_events.ports.clock import Clock, Dice, SystemClock, SystemDice

__all__ = ["Admission", "Breakers"]

log = get_logger(__name__)

_REMEMBERED: Final = 10_000
_PLAIN: Final = Breaker()
_POLICY: Final = BreakerPolicy()


@dataclass(frozen=True, slots=True)
class Admission:
    """Something may be handed to ``provider``; say afterwards what came of it."""

    provider: str
    epoch: int


class Breakers:
    """Ask before something is handed to a provider, tell afterwards.

    Providers may be as many as clients name (their hosts): of those in trouble the ``most`` that
    were used last are remembered, the others count as working.
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
        self._log = log.bind(channel=channel)

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """By provider, every breaker that is not closed."""
        closed = BreakerState.CLOSED
        return {name: each for name, each in self._known.items() if each.state is not closed}

    def of(self, provider: str) -> Breaker:
        """What is known of a provider."""
        return self._known.get(provider, _PLAIN)

    def ask(self, provider: str) -> Admission | None:
        """May something be handed to the provider now? None: it is down, see :meth:`kept_back`."""
        epoch = self._tell(provider, CallRequested())
        return None if epoch is None else Admission(provider, epoch)

    def answered(self, admission: Admission) -> None:
        """The provider answered, whatever it said of the message."""
        self._tell(admission.provider, CallAnswered(admission.epoch))

    def troubled(self, admission: Admission, why: str) -> None:
        """The provider itself failed; ``why`` is for people, and names no address."""
        self._tell(admission.provider, CallFailed(admission.epoch, why))

    @contextmanager
    def watched(self, admission: Admission) -> Iterator[None]:
        """The block hands it over; if it ends early (cancelled, say), nothing is learnt."""
        try:
            yield
        except BaseException:
            self.unknown(admission)
            raise

    def unknown(self, admission: Admission) -> None:
        """It was not handed over after all, or nothing was learnt of the provider."""
        self._tell(admission.provider, CallInconclusive(admission.epoch))

    def unreachable(self, provider: str, why: str) -> None:
        """The provider cannot be reached, though nothing was to be handed to it."""
        self._tell(provider, CallFailed(self.of(provider).epoch, why))

    def reachable(self, provider: str) -> None:
        """The provider can be reached again, whether or not it answers: it may be probed."""
        self._tell(provider, ProviderReachable())

    def kept_back(self, provider: str, item: DeliverItem | ChallengeItem) -> Sent:
        """The result of an item that was not handed to a provider because that is down."""
        breaker = self.of(provider)
        now = self._clock.now()
        wait = retry_delay(breaker, now=now, jitter=self._dice.jitter(), policy=self.policy)
        detail = f"the provider is down: {breaker.why}"
        return ended(item, OutcomeKind.UNAVAILABLE, now, detail, retry_after=wait)

    def _tell(self, provider: str, fact: BreakerFact) -> int | None:
        before = self.of(provider)
        decision = decide(
            before,
            fact,
            now=self._clock.now(),
            jitter=self._dice.jitter(),
            policy=self.policy,
        )
        after = decision.breaker
        if after != before:
            self._keep(provider, after)
            self._say(provider, before, after)
        return decision.epoch

    def _keep(self, provider: str, breaker: Breaker) -> None:
        self._known[provider] = breaker
        self._known.move_to_end(provider)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def _say(self, provider: str, before: Breaker, after: Breaker) -> None:
        if after.state is before.state:
            return
        if after.state is BreakerState.OPEN:
            down = self._log.warning if before.state is BreakerState.CLOSED else self._log.info
            down("provider_down", provider=provider, why=after.why, openings=after.openings)
        elif after.state is BreakerState.CLOSED:
            self._log.info("provider_up", provider=provider)
