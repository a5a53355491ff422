"""Datagrams from their parts: pure, and bounded whatever comes.

A part belongs to the datagram of its sender, reference (8 and 16 bits apart) and count. Parts come
in any order and more than once. A part that differs from the one that is there already is of
another datagram with the same reference: it waits beside it, and each is put together from the
first of each number, so that datagrams that come one after the other, or in step, come out whole.
Whether a datagram is one, its reader tells: what mixes two must not be taken for either.

What never becomes complete is dropped after `KEPT_FOR`, or when there is too much: whoever sent
most of what is held loses its oldest datagram, so that a flood drives out itself first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from pydantic import ConfigDict

from aoi_events.oma_push.datagrams import Bits, Part

__all__ = ["KEPT_FOR", "MOST_ALIKE", "MOST_HELD", "HeldPart", "Taken", "take"]

KEPT_FOR: Final = timedelta(days=1)
"""How long a part waits for the others: a telephone may be out of reach between two of them."""

MOST_HELD: Final = 128
"""Parts that are held at most, of all senders: 17 KiB."""

MOST_ALIKE: Final = 4
"""Datagrams with one sender, reference and count that are put together at once."""

Key = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class HeldPart:
    """A part that waits for the others; ``bits`` and ``reference`` are those of its datagram."""

    # Holders store it as JSON, which has no octets.
    __pydantic_config__: ClassVar = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    sender: str
    bits: Bits
    reference: int
    count: int
    number: int
    octets: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """What is held after a part came, and the datagram that it completed, if it did.

    ``dropped`` counts the parts that were given up, because of their age or for want of room.
    """

    held: tuple[HeldPart, ...]
    datagram: bytes | None = None
    dropped: int = 0


def take(
    held: Sequence[HeldPart], sender: str, part: Part, octets: bytes, *, now: datetime
) -> Taken:
    """A part came from ``sender``; ``held`` is what `take` returned last, oldest first."""
    came = HeldPart(
        sender, part.reference.bits, part.reference.number, part.count, part.number, octets, now
    )
    young = [known for known in held if abs(now - known.at) <= KEPT_FOR]
    aged = len(held) - len(young)
    alike = [known for known in young if _key(known) == _key(came)]
    if any((known.number, known.octets) == (came.number, came.octets) for known in alike):
        return Taken(tuple(young), dropped=aged)
    first: dict[int, HeldPart] = {}
    for known in (*alike, came):
        first.setdefault(known.number, known)
    if len(first) == came.count:
        used = {id(known) for known in first.values()}
        left = tuple(known for known in young if id(known) not in used)
        datagram = b"".join(first[number].octets for number in sorted(first))
        return Taken(left, datagram, dropped=aged)
    same = [known for known in alike if known.number == came.number]
    if len(same) >= MOST_ALIKE:
        young.remove(same[0])
        aged += 1
    kept = _bounded([*young, came])
    return Taken(kept, dropped=aged + len(young) + 1 - len(kept))


def _bounded(parts: list[HeldPart]) -> tuple[HeldPart, ...]:
    if len(parts) <= MOST_HELD:
        return tuple(parts)
    most, _ = Counter(known.sender for known in parts).most_common(1)[0]
    oldest = _key(next(known for known in parts if known.sender == most))
    return tuple(known for known in parts if _key(known) != oldest)


def _key(part: HeldPart) -> Key:
    return part.sender, part.bits, part.reference, part.count
