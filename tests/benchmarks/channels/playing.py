"""One notification, played in virtual time: the product decides, the modelled world answers.

The plan comes from :mod:`aoi_events.domain.planning.plans` and every change of the delivery from
:mod:`aoi_events.domain.delivery.machine`, with the traits of the installed channels. The model
supplies only the messages that the workers would receive, and their times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits
from aoi_events.domain.delivery.facts import DeadlineReached, Fact, Planned, Reported, StartStep
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, plan
from tests.benchmarks.channels.world import Fate

CONNECTION: Final = "websocket"
"""The channel that needs the data connection; every other one is taken for short messages."""

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CONTENT: Final = Content(data="Your code is 493 027")
_TAKEN_WITHIN: Final = 0.05
"""Seconds until the SMSC has taken a message."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to use a device's channels: the first ``most`` of them, one after the other or not."""

    name: str
    mode: Mode
    most: int | None = None


@dataclass(slots=True)
class Played:
    """What became of a notification.

    ``arrived``: seconds until the app had it, None: not before it expired. ``reported``: what its
    sender is told. ``sent``: messages that went out, by channel.
    """

    arrived: float | None = None
    reported: DeliveryState = DeliveryState.SENDING
    sent: Counter[str] = field(default_factory=Counter)


def play(
    fate: Fate, way: Way, traits: Mapping[str, ChannelTraits], *, hedge_after: float, ttl: float
) -> Played:
    """The notification from its acceptance to its end; ``hedge_after`` and ``ttl`` in seconds.

    ``traits``: of the device's channels, best first.
    """
    return _Play(fate, way, traits, hedge_after, ttl).run()


class _Play:
    def __init__(
        self,
        fate: Fate,
        way: Way,
        traits: Mapping[str, ChannelTraits],
        hedge_after: float,
        ttl: float,
    ) -> None:
        self._fate = fate
        self._way = way
        self._traits = traits
        self._hedge_after = hedge_after
        self._ttl = ttl
        self._channels: Sequence[Channel] = [
            Channel("cli", kind, ChannelState.ACTIVE, rank) for rank, kind in enumerate(traits)
        ][: way.most]
        self._coming: list[tuple[float, int, Fact | None]] = []
        self._returned = False
        self._told = 0
        self._submitted: set[tuple[int, int]] = set()
        self._played = Played()
        self._delivery = Delivery(
            id="dlv",
            sender="bench",
            notification="bench",
            client="cli",
            application="bench",
            instance="default",
            fingerprint="",
            accepted_at=_START,
            expires_at=_START + timedelta(seconds=ttl),
        )

    def run(self) -> Played:
        """Until the sender was told how it ended."""
        fate = self._fate
        if fate.dead:
            self._expect(fate.back_at, None)
        self._decide(0.0, self._plan())
        while not self._delivery.state.terminal:
            due = self._delivery.deadline
            look = self._ttl if due is None else (due - _START).total_seconds()
            if self._coming and self._coming[0][0] <= look:
                at, _, fact = heappop(self._coming)
                self._happen(at, fact)
            else:
                self._decide(look, DeadlineReached())
        self._played.reported = self._delivery.state
        return self._played

    def _happen(self, at: float, fact: Fact | None) -> None:
        """Something is heard; None: the device connects again, and what rests is planned anew. What
        is under way is planned anew when it is stored, as the workers do.
        """
        if fact is not None:
            self._decide(at, fact)
        else:
            self._returned = True
        if self._returned and self._delivery.idle:
            self._returned = False
            self._decide(at, self._plan())

    def _plan(self) -> Planned:
        """Nobody knows yet that a dead connection is dead, and after its return it is not."""
        hedged = self._way.mode is Mode.HEDGED
        demand = Demand(
            _CONTENT,
            mode=self._way.mode,
            hedge_after=self._hedge_after if hedged else None,
        )
        steps = plan(self._channels, self._traits, demand, connected=True)
        return Planned(steps)

    def _expect(self, at: float, fact: Fact | None) -> None:
        self._told += 1
        heappush(self._coming, (at, self._told, fact))

    def _decide(self, at: float, fact: Fact) -> None:
        now = _START + timedelta(seconds=at)
        decision = decide(self._delivery, fact, now=now, jitter=0.5)
        self._delivery = decision.delivery
        for effect in decision.effects:
            attempt = (effect.step, effect.attempt) if isinstance(effect, StartStep) else None
            if attempt is not None and attempt not in self._submitted:
                self._submitted.add(attempt)
                self._submit(at, *attempt)

    def _submit(self, at: float, step: int, attempt: int) -> None:
        channel = self._delivery.steps[step].step.channel
        self._played.sent[channel] += 1
        if channel == CONNECTION:
            self._over_connection(at, step, attempt)
        else:
            self._over_sms(at, step, attempt)

    def _over_connection(self, at: float, step: int, attempt: int) -> None:
        fate = self._fate
        if fate.connected(at):
            takes = fate.over_connection(attempt)
            self._arrives(at + takes)
            self._hear(at + 2 * takes, OutcomeKind.ACKNOWLEDGED, step, attempt)
        else:
            # Whoever connects again ends the session before.
            found = min(max(at, fate.noticed_at), fate.back_at)
            self._hear(found, OutcomeKind.ROUTE_LOST, step, attempt)

    def _over_sms(self, at: float, step: int, attempt: int) -> None:
        fate = self._fate
        self._hear(at + _TAKEN_WITHIN, OutcomeKind.ACCEPTED, step, attempt)
        takes = fate.over_sms(attempt)
        if takes is None:
            return
        arrives = at + takes
        self._arrives(arrives)
        self._hear(arrives, OutcomeKind.RECEIPTED, step, attempt)
        # The device acknowledges over its connection, as soon as it has one.
        connected_at = arrives if fate.connected(arrives) else fate.back_at
        acknowledged = connected_at + fate.over_connection(attempt)
        self._hear(acknowledged, OutcomeKind.ACKNOWLEDGED, step, attempt)

    def _arrives(self, at: float) -> None:
        arrived = self._played.arrived
        if at < self._ttl and (arrived is None or at < arrived):
            self._played.arrived = at

    def _hear(self, at: float, kind: OutcomeKind, step: int, attempt: int) -> None:
        channel = self._delivery.steps[step].step.channel
        said = Reported(
            kind, _START + timedelta(seconds=at), step=step, attempt=attempt, channel=channel
        )
        self._expect(at, said)
