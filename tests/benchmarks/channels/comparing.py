"""Plans compared: what each makes of the same notifications, as the data connection fails more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from aoi_events.channels.sms import plugin as sms
from aoi_events.channels.websocket import plugin as websocket
from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.channels import ChannelTraits
from tests.benchmarks.channels.playing import Played, Way, play
from tests.benchmarks.channels.world import Fate, World

WAYS: Final = (
    Way("first channel only", Mode.FALLBACK, most=1),
    Way("fallback", Mode.FALLBACK),
    Way("hedged", Mode.HEDGED),
    Way("parallel", Mode.PARALLEL),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One way at one share of failing connections.

    ``delivered``: share that the app had before it expired; ``overstated``: share that was reported
    as delivered and never arrived. ``p50`` and so on: seconds until the app had it, over those that
    it had; None: none. ``sent``: messages a notification; ``cost``: of them, at one unit an SMS.
    """

    way: str
    failing: float
    delivered: float
    overstated: float
    p50: float | None
    p95: float | None
    p99: float | None
    sent: float
    cost: float


def device_traits() -> dict[str, ChannelTraits]:
    """The channels of every device, best first, with the defaults of their settings."""
    return {plugin.type: plugin.traits(plugin.settings_model()) for plugin in (websocket, sms)}


def compare(
    world: World,
    *,
    notifications: int,
    shares: Sequence[float],
    seed: int,
    hedge_after: float,
    ttl: float,
    ways: Sequence[Way] = WAYS,
) -> Iterator[Cell]:
    """Every way at every share of dead connections (0 to 1), all over the same notifications.

    ``hedge_after`` and ``ttl`` in seconds.
    """
    traits = device_traits()
    fates = [world.fate(seed, number) for number in range(notifications)]
    for way in ways:

        def played(fate: Fate, way: Way = way) -> Played:
            return play(fate, way, traits, hedge_after=hedge_after, ttl=ttl)

        alive = [played(fate) for fate in fates]
        # A share changes who meets a dead connection, and nothing else.
        dead = [
            played(replace(fate, dead=True)) if fate.dies_at < max(shares) else whole
            for fate, whole in zip(fates, alive, strict=True)
        ]
        for share in shares:
            met = [
                broken if fate.dies_at < share else whole
                for fate, whole, broken in zip(fates, alive, dead, strict=True)
            ]
            yield _cell(way, share, met, traits)


def _cell(
    way: Way, failing: float, played: Sequence[Played], traits: Mapping[str, ChannelTraits]
) -> Cell:
    times = sorted(each.arrived for each in played if each.arrived is not None)
    delivered = DeliveryState.DELIVERED
    overstated = [each for each in played if each.reported is delivered and each.arrived is None]
    count = len(played)
    messages = sum(each.sent.total() for each in played)
    cost = sum(traits[kind].cost * n for each in played for kind, n in each.sent.items())
    return Cell(
        way=way.name,
        failing=failing,
        delivered=len(times) / count,
        overstated=len(overstated) / count,
        p50=_percentile(times, 0.50),
        p95=_percentile(times, 0.95),
        p99=_percentile(times, 0.99),
        sent=messages / count,
        cost=cost / count,
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest rank: the least of ``ordered`` that ``share`` of them do not exceed."""
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None
