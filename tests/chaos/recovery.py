"""How long deliveries did not flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise


@dataclass(frozen=True, slots=True)
class Recovery:
    """One fault and what came of it; all times in seconds.

    ``first`` until some device, ``all`` until each device was shown notifications again: the
    longest time without one, counted from the fault's beginning, or from its end where it leaves
    no majority (``flows`` is false). ``dark`` is the number of devices that were not served before
    a person restarted the gateways.
    """

    fault: str
    flows: bool
    lasted: float
    first: float
    all: float
    dark: int


def silence(times: Iterable[float], start: float, end: float) -> float:
    """The longest time between ``start`` and ``end`` that has none of ``times``."""
    inside = sorted(each for each in times if start < each < end)
    return max(after - before for before, after in pairwise([start, *inside, end]))


def first_and_all(
    arrivals: Mapping[str, Sequence[float]], start: float, end: float
) -> tuple[float, float]:
    """The longest silence of all devices together, and that of the device with the longest."""
    return (
        silence(chain.from_iterable(arrivals.values()), start, end),
        max(silence(times, start, end) for times in arrivals.values()),
    )
