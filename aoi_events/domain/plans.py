"""Plans: which channels a delivery uses, in which order, and when each step starts.

One rule covers fallback, parallel and hedged plans: a step starts when its time has come *or* when
every step before it is over, whichever is first. Fallback leaves the time away, parallel sets it to
zero, a hedge sets it to the head start of the steps before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.domain.channels import Channel, ChannelTraits, octets_of
from aoi_events.domain.notifications import Notification

__all__ = ["Demand", "Step", "demand_of", "may_start", "plan", "starts_at"]

_SHORTEST, _LONGEST = 0.001, 24 * 3600.0
_HEDGE_AFTER = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One channel of a plan.

    ``start_after``: seconds after the plan was made, or None for "when those before it are over".
    ``ack_within``: seconds that an attempt may wait for the acknowledgement, from a
    millisecond to a day. ``wake_up``: the
    content does not fit this channel; the device is told to fetch it. ``connected``: the channel is
    connection-oriented, so silence is taken for the end of it; on any other channel silence
    means that its worker or provider is slow, and the step is tried again.
    """

    channel: str
    start_after: float | None
    ack_within: float
    wake_up: bool = False
    connected: bool = False

    def __post_init__(self) -> None:
        if not _SHORTEST <= self.ack_within <= _LONGEST:
            raise ValueError("a step's ack_within lies between a millisecond and a day")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a plan is made for, as its sender wants it.

    ``content`` None: it is kept no longer, so nothing depends on its size. ``mode`` and
    ``hedge_after`` (seconds) None: the sender does not say.
    """

    content: Content | None
    mode: Mode | None = None
    hedge_after: float | None = None


def demand_of(sent: SendNotificationV1 | Notification) -> Demand:
    """What a plan for a delivery of this is made for."""
    return Demand(sent.content, sent.mode, sent.hedge_after)


def plan(
    channels: Sequence[Channel],
    traits: Mapping[str, ChannelTraits],
    demand: Demand,
    *,
    connected: bool,
) -> tuple[Step, ...]:
    """Steps for a delivery over the client's ``channels``, best first (as they were selected).

    A connection-oriented channel takes part only while the device is ``connected``; channels that
    are not active, or whose plug-in is not installed here, take no part. Empty: nothing can reach
    the device now. Who names no mode gets *fallback*, and no ``hedge_after`` two seconds.
    """
    content, mode = demand.content, demand.mode or Mode.FALLBACK
    hedge_after = _HEDGE_AFTER if demand.hedge_after is None else demand.hedge_after
    usable = [
        (channel, trait)
        for channel in sorted(channels, key=lambda channel: (channel.rank, channel.type))
        if channel.usable
        and (trait := traits.get(channel.type)) is not None
        and (connected or not trait.connection_oriented)
    ]
    starts: dict[Mode, float | None] = {
        Mode.FALLBACK: None,
        Mode.PARALLEL: 0.0,
        Mode.HEDGED: hedge_after,
    }
    return tuple(
        Step(
            channel=channel.type,
            start_after=0.0 if index == 0 else _later(starts[mode], index, mode),
            ack_within=trait.ack_within,
            wake_up=content is not None and not _fits(content, channel, trait),
            connected=trait.connection_oriented,
        )
        for index, (channel, trait) in enumerate(usable)
    )


def starts_at(step: Step, planned_at: datetime) -> datetime | None:
    """The step's own time to start, if it has one."""
    if step.start_after is None:
        return None
    return planned_at + timedelta(seconds=step.start_after)


def may_start(step: Step, *, planned_at: datetime, now: datetime, all_before_over: bool) -> bool:
    """The one rule: its time has come, or every step before it is over."""
    own = starts_at(step, planned_at)
    return all_before_over or (own is not None and now >= own)


def _later(start: float | None, index: int, mode: Mode) -> float | None:
    return start * index if start is not None and mode is Mode.HEDGED else start


def _fits(content: Content, channel: Channel, trait: ChannelTraits) -> bool:
    """The device's limit is one of content, the channel's one of what it takes to carry it."""
    device, carries = channel.largest_content, trait.largest_content
    return (device is None or octets_of(content) <= device) and (
        carries is None or trait.measure(content) <= carries
    )
