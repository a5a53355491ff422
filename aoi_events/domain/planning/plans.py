"""Plans: which channels a delivery uses, in which order, and when each step starts.

One rule covers fallback, parallel and hedged plans: a step starts when its time has come *or* when
every step before it is over, whichever is first. In a fallback plan a step has no time, in a
parallel plan it is zero, in a hedged plan it is the head start of the steps before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Final

from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits, octets_of
from aoi_events.domain.notifications import Notification
from aoi_events.domain.planning.policy import NO_RULES, ChannelRules, Rules, urgent_enough

if TYPE_CHECKING:
    from aoi_events.contracts.content import Content
    from aoi_events.contracts.requests import SendNotificationV1

_SHORTEST, _LONGEST = 0.001, 24 * 3600.0
_HEDGE_AFTER: Final = 2.0
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Step:
    """One channel of a plan.

    ``start_after``: seconds after the plan was made, or None for "when those before it are over".
    ``ack_within``: seconds that an attempt may wait for the acknowledgement, from a millisecond to
    a day. ``wake_up``: the content does not fit this channel; the device is asked to fetch it.
    ``connected``: the channel is connection-oriented, so silence means that the connection is gone;
    on any other channel silence means that its worker or provider is slow, and the step is tried
    again. ``cost``: of each attempt, in the unit of all costs.
    """

    channel: str
    start_after: float | None
    ack_within: float
    wake_up: bool = False
    connected: bool = False
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not _SHORTEST <= self.ack_within <= _LONGEST:
            raise ValueError("a step's ack_within lies between a millisecond and a day")


@dataclass(frozen=True, slots=True)
class Demand:
    """The sender's wishes that a plan is made for.

    ``content`` None: it is not stored any more, so nothing depends on its size. ``mode`` and
    ``hedge_after`` (seconds) None: the sender has no wish. ``spent``: the cost of the delivery so
    far.
    """

    content: Content | None
    urgency: Urgency = Urgency.NORMAL
    mode: Mode | None = None
    hedge_after: float | None = None
    spent: float = 0.0


class Obstacle(StrEnum):
    """Why a channel is not part of a plan."""

    CLOSED = "closed"
    PENDING = "pending"
    """Its address is not proved yet."""
    NOT_INSTALLED = "not_installed"
    """Its plug-in is not installed, or not configured, where the plan is made."""
    NOT_CONNECTED = "not_connected"
    NOT_URGENT_ENOUGH = "not_urgent_enough"
    TOO_COSTLY = "too_costly"
    """With it the delivery could cost more than it may."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel of the client: either a step of the plan, or the obstacle to it."""

    channel: Channel
    step: Step | None = None
    obstacle: Obstacle | None = None


def demand_of(sent: SendNotificationV1 | Notification, *, spent: float = 0.0) -> Demand:
    """The demand of a delivery of this notification."""
    return Demand(sent.content, sent.urgency, sent.mode, sent.hedge_after, spent)


def mode_of(demand: Demand, rules: Rules) -> tuple[Mode, float]:
    """The mode, and the head start of a hedge in seconds: the sender's, else the application's
    rules, else the rules for all, else *fallback* and two seconds.
    """
    mode = demand.mode or rules.mode or Mode.FALLBACK
    after = rules.hedge_after if demand.hedge_after is None else demand.hedge_after
    return mode, _HEDGE_AFTER if after is None else after


def plan(
    channels: Sequence[Channel],
    traits: Mapping[str, ChannelTraits],
    demand: Demand,
    *,
    connected: bool,
    rules: Rules = NO_RULES,
) -> tuple[Step, ...]:
    """The steps for a delivery over the client's ``channels``; see :func:`candidates`.

    Empty: no channel is usable now.
    """
    every = candidates(channels, traits, demand, connected=connected, rules=rules)
    return tuple(candidate.step for candidate in every if candidate.step is not None)


def candidates(
    channels: Sequence[Channel],
    traits: Mapping[str, ChannelTraits],
    demand: Demand,
    *,
    connected: bool,
    rules: Rules = NO_RULES,
) -> tuple[Candidate, ...]:
    """The client's ``channels``, best first (as the rules prefer, then as they were selected), each
    with its step or its obstacle.

    A connection-oriented channel takes part only while the device is ``connected``. No channel does
    that is not active, whose plug-in is not installed here, which the rules reserve for more urgent
    notifications, or which would exceed the allowed cost of the delivery.
    """
    mode, hedge_after = mode_of(demand, rules)
    starts = _starts(mode, hedge_after)
    left = None if rules.most_cost is None else rules.most_cost - demand.spent
    found: list[Candidate] = []
    for channel in sorted(channels, key=lambda each: _place(each, rules)):
        own = rules.of(channel.type)
        trait = traits.get(channel.type)
        obstacle = _obstacle(channel, trait, demand, own, connected=connected)
        if trait is None or obstacle is not None:
            found.append(Candidate(channel, obstacle=obstacle))
            continue
        wake_up = demand.content is not None and not _fits(demand.content, channel, trait, own)
        messages = 1 if wake_up or demand.content is None else trait.messages(demand.content)
        cost = messages * (trait.cost if own.cost is None else own.cost)
        if left is not None and cost > 0:
            if cost > left + _ROUNDING:
                found.append(Candidate(channel, obstacle=Obstacle.TOO_COSTLY))
                continue
            left -= cost
        step = Step(
            channel=channel.type,
            start_after=next(starts),
            ack_within=trait.ack_within if own.ack_within is None else own.ack_within,
            wake_up=wake_up,
            connected=trait.connection_oriented,
            cost=cost,
        )
        found.append(Candidate(channel, step))
    return tuple(found)


def starts_at(step: Step, planned_at: datetime) -> datetime | None:
    """The step's own start time, if it has one."""
    if step.start_after is None:
        return None
    return planned_at + timedelta(seconds=step.start_after)


def may_start(step: Step, *, planned_at: datetime, now: datetime, all_before_over: bool) -> bool:
    """The one rule: the step's start time has passed, or every step before it is over."""
    own = starts_at(step, planned_at)
    return all_before_over or (own is not None and now >= own)


def _starts(mode: Mode, hedge_after: float) -> Iterator[float | None]:
    """When the steps of a plan start, in their order; the first one at once."""
    for index in count():
        if index == 0 or mode is Mode.PARALLEL:
            yield 0.0
        else:
            yield hedge_after * index if mode is Mode.HEDGED else None


def _place(channel: Channel, rules: Rules) -> tuple[int, int, str]:
    preferred = rules.preference or ()
    known = channel.type in preferred
    place = preferred.index(channel.type) if known else len(preferred)
    return (place, channel.rank, channel.type)


def _obstacle(
    channel: Channel,
    trait: ChannelTraits | None,
    demand: Demand,
    rules: ChannelRules,
    *,
    connected: bool,
) -> Obstacle | None:
    if not channel.usable:
        pending = channel.state is ChannelState.PENDING
        return Obstacle.PENDING if pending else Obstacle.CLOSED
    if trait is None:
        return Obstacle.NOT_INSTALLED
    if rules.least_urgency is not None and not urgent_enough(demand.urgency, rules.least_urgency):
        return Obstacle.NOT_URGENT_ENOUGH
    if trait.connection_oriented and not connected:
        return Obstacle.NOT_CONNECTED
    return None


def _fits(content: Content, channel: Channel, trait: ChannelTraits, rules: ChannelRules) -> bool:
    """Whether the content fits the channel: the limits of device and operator count octets of
    content, the channel's limit counts what it takes to carry it.
    """
    carries = trait.largest_content
    bounds = [most for most in (channel.largest_content, rules.largest) if most is not None]
    return (not bounds or octets_of(content) <= min(bounds)) and (
        carries is None or trait.measure(content) <= carries
    )
