"""Reassembly of datagrams from their parts. Pure, and bounded for any input.

A part belongs to the datagram of its sender, reference (8 and 16 bits apart) and count. Parts come
in any order and more than once. A part that differs from a waiting one with the same number belongs
to another datagram with the same reference: both wait, and each datagram is assembled from the
oldest part of each number. So datagrams that come one after the other, or in step, are complete.
Only the reader of a datagram can find out that it mixes two, so it must check.

Parts that never become complete are dropped after `MAX_AGE`, or when too many wait: the sender of
most of the waiting parts loses its oldest datagram, so a flood drops its own parts first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from pydantic import ConfigDict

from aoi_events.oma_push.datagrams import Bits, Part

MAX_AGE: Final = timedelta(days=1)
"""How long a part waits for the others: a telephone may be out of reach between two of them."""

MAX_WAITING: Final = 128
"""Largest number of waiting parts, of all senders: 17 KiB."""

MAX_ALIKE: Final = 4
"""Largest number of datagrams with one sender, reference and count that wait at once."""

Key = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class WaitingPart:
    """A part that waits for the others; ``bits`` and ``reference`` are those of its datagram."""

    # The client stores it as JSON, which has no octets.
    __pydantic_config__: ClassVar = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    sender: str
    bits: Bits
    reference: int
    count: int
    number: int
    octets: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Reassembly:
    """The waiting parts after the arrival of a part, and the datagram that it completed, if any.

    ``dropped`` counts the parts that were dropped because of their age, or because too many wait.
    """

    waiting: tuple[WaitingPart, ...]
    datagram: bytes | None = None
    dropped: int = 0


def take(
    waiting: Sequence[WaitingPart], sender: str, part: Part, octets: bytes, *, now: datetime
) -> Reassembly:
    """Take a part from ``sender``; ``waiting`` is the result of the last call, oldest first."""
    new = WaitingPart(
        sender, part.reference.bits, part.reference.number, part.count, part.number, octets, now
    )
    recent = [other for other in waiting if abs(now - other.at) <= MAX_AGE]
    dropped = len(waiting) - len(recent)
    alike = [other for other in recent if _key(other) == _key(new)]
    if any((other.number, other.octets) == (new.number, new.octets) for other in alike):
        return Reassembly(tuple(recent), dropped=dropped)
    chosen: dict[int, WaitingPart] = {}
    for other in (*alike, new):
        chosen.setdefault(other.number, other)
    if len(chosen) == new.count:
        used = {id(other) for other in chosen.values()}
        left = tuple(other for other in recent if id(other) not in used)
        datagram = b"".join(chosen[number].octets for number in sorted(chosen))
        return Reassembly(left, datagram, dropped=dropped)
    same = [other for other in alike if other.number == new.number]
    if len(same) >= MAX_ALIKE:
        recent.remove(same[0])
        dropped += 1
    rest = _bounded([*recent, new])
    return Reassembly(rest, dropped=dropped + len(recent) + 1 - len(rest))


def _bounded(parts: list[WaitingPart]) -> tuple[WaitingPart, ...]:
    if len(parts) <= MAX_WAITING:
        return tuple(parts)
    most, _ = Counter(other.sender for other in parts).most_common(1)[0]
    oldest = _key(next(other for other in parts if other.sender == most))
    return tuple(other for other in parts if _key(other) != oldest)


def _key(part: WaitingPart) -> Key:
    return part.sender, part.bits, part.reference, part.count
