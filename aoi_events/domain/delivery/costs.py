"""What a delivery has cost, by its story."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery.state import Delivery, StoryEntry

__all__ = ["Attempt", "doubtful", "spent"]

Attempt = tuple[str, int, int]
"""Delivery ID, step and attempt: the key of a submission."""

_NOT_TAKEN: Final[frozenset[str]] = frozenset(
    {
        OutcomeKind.UNAVAILABLE,
        OutcomeKind.REFUSED,
        OutcomeKind.REJECTED,
        OutcomeKind.ROUTE_LOST,
        OutcomeKind.PARKED,
    }
)
_TAKEN: Final[frozenset[str]] = frozenset({OutcomeKind.ACCEPTED, OutcomeKind.RECEIPTED})


def spent(delivery: Delivery, *, overtaken: Collection[Attempt] = ()) -> float:
    """What its messages cost together, in the unit of all costs, as of when they were sent.

    One that nobody took costs nothing, and so do those that are known to be ``overtaken``; one of
    which nothing was heard counts, and so does one that was taken and never arrived. Of a very long
    story the middle is left out, and what was sent then does not count.
    """
    costs = (
        entry.cost
        for entry, said in _sent(delivery)
        if said not in _NOT_TAKEN and _key(delivery, entry) not in overtaken
    )
    return sum(costs, 0.0)


def doubtful(delivery: Delivery) -> set[Attempt]:
    """What may have been overtaken by the delivery's end: handed to a channel that another one was
    faster than, and of which nobody said a word. Whether it was submitted, its worker has noted.
    """
    if not delivery.state.terminal:
        return set()
    return {
        key
        for entry, said in _sent(delivery)
        if said is None
        and entry.channel != delivery.channel
        and (key := _key(delivery, entry)) is not None
    }


def _sent(delivery: Delivery) -> Iterator[tuple[StoryEntry, str | None]]:
    """What was sent and has a cost, each with the last that was said of it, but for what a provider
    that took it said later.
    """
    said: dict[int, str] = {}
    for entry in delivery.story:
        if entry.attempt is not None and not entry.cost and said.get(entry.attempt) not in _TAKEN:
            said[entry.attempt] = entry.what
    for entry in delivery.story:
        if entry.cost and entry.attempt is not None:
            yield entry, said.get(entry.attempt)


def _key(delivery: Delivery, entry: StoryEntry) -> Attempt | None:
    if entry.step is None or entry.attempt is None:
        return None
    return (delivery.id, entry.step, entry.attempt)
