"""Reassembly of datagrams from parts: in any order, and bounded for any input."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.oma_push.datagrams import (
    MOST_SEGMENTS,
    Bits,
    Part,
    Reference,
    read,
    split,
)
from aoi_events.oma_push.reassembly import (
    MAX_AGE,
    MAX_ALIKE,
    MAX_WAITING,
    Reassembly,
    WaitingPart,
    take,
)
from tests.support.instant import INSTANT as NOW

REFERENCE = Reference(16, 0x1234)

Came = tuple[str, Part, bytes]

any_parts = st.builds(
    lambda sender, bits, number, count, octets, place: (
        sender,
        Part(Reference(bits, number), count, 1 + place % count),
        octets,
    ),
    st.sampled_from(["a", "b"]),
    st.sampled_from([8, 16]),
    st.integers(0, 1),
    st.integers(2, 4),
    st.binary(max_size=3),
    st.integers(0, 3),
)


def parts(datagram: bytes, sender: str = "AOI", reference: Reference = REFERENCE) -> list[Came]:
    """The parts of a datagram, in order."""
    segments = [read(message) for message in split(datagram, reference, most=MOST_SEGMENTS)]
    return [(sender, segment.part, segment.octets) for segment in segments if segment.part]


def play(
    arrivals: list[Came], *, every: timedelta = timedelta(0)
) -> tuple[list[bytes], Reassembly]:
    """The datagrams that came out, in order, and what the last arrival left."""
    taken, out, now = Reassembly(()), [], NOW
    for sender, part, octets in arrivals:
        taken = take(taken.waiting, sender, part, octets, now=now)
        now += every
        if taken.datagram is not None:
            out.append(taken.datagram)
    return out, taken


def text(size: int, letter: int = 0) -> bytes:
    """A datagram without two equal parts."""
    return bytes((index // 120 + letter) % 256 for index in range(size))


@given(st.integers(134, 1_900), st.randoms(use_true_random=False), st.sampled_from([8, 16]))
def test_any_order_and_any_repeats_give_the_datagram_once(
    size: int, random: Random, bits: Bits
) -> None:
    """However the parts are shuffled, and repeated before the last new one, the datagram comes out
    once and whole, and nothing is left of it.
    """
    whole = parts(text(size), reference=Reference(bits, 9))
    order = list(whole)
    random.shuffle(order)
    repeats = [random.choice(order[:-1]) for _ in range(random.randrange(4))]
    shuffled = order[:-1] + repeats
    random.shuffle(shuffled)
    out, taken = play([*shuffled, order[-1]])
    assert out == [text(size)]
    assert taken.waiting == ()


def test_nothing_comes_out_while_a_part_is_missing() -> None:
    """Whichever part it is."""
    whole = parts(text(500))
    assert len(whole) == 4
    for missing in range(4):
        out, taken = play(whole[:missing] + whole[missing + 1 :])
        assert out == []
        assert len(taken.waiting) == 3


@pytest.mark.parametrize(
    "order", ["AABB", "ABAB", "BABA"], ids=["one after the other", "in step", "the other first"]
)
def test_two_datagrams_with_one_reference_come_out_whole(order: str) -> None:
    """A part that differs from the one that is there is of the other datagram."""
    waiting = {"A": parts(text(200, 1)), "B": parts(text(200, 9))}
    out, taken = play([waiting[letter].pop(0) for letter in order])
    assert sorted(out) == [text(200, 1), text(200, 9)]
    assert taken.waiting == ()


@pytest.mark.parametrize(
    "one, other",
    [
        (parts(text(200, 1)), parts(text(200, 9), sender="+31600000001")),
        (parts(text(200, 1)), parts(text(200, 9), reference=Reference(16, 0x1235))),
        (
            parts(text(200, 1), reference=Reference(8, 5)),
            parts(text(200, 9), reference=Reference(16, 5)),
        ),
        (parts(text(200, 1)), parts(text(300, 9))),
    ],
    ids=["sender", "reference", "width", "count"],
)
def test_what_differs_in_sender_reference_width_or_count_is_never_mixed(
    one: list[Came], other: list[Came]
) -> None:
    """Last part of the one first, and the rest in step: each comes out by itself."""
    out, taken = play([other[-1], one[-1], *one[:-1], *other[:-1]])
    assert out == [text(200, 1), text(sum(len(octets) for *_, octets in other), 9)]
    assert taken.waiting == ()


def test_a_part_waits_for_a_day_and_no_longer() -> None:
    """A part in time completes the datagram; after that the early part is dropped, and counted."""
    whole = parts(text(200))
    out, _ = play(whole, every=MAX_AGE)
    assert out == [text(200)]
    out, taken = play(whole, every=MAX_AGE + timedelta(seconds=1))
    assert (out, taken.dropped, len(taken.waiting)) == ([], 1, 1)


def test_a_clock_that_was_put_back_keeps_nothing_for_ever() -> None:
    """Parts from the future are dropped like old ones."""
    one, other = parts(text(200)), parts(text(200), sender="other")
    waiting = take((), *one[0], now=NOW + timedelta(days=400)).waiting
    taken = take(waiting, *other[0], now=NOW)
    assert (taken.dropped, [part.sender for part in taken.waiting]) == (1, ["other"])


def test_a_flood_drives_out_itself() -> None:
    """Endless first parts of one sender: the waiting parts stay bounded, and the part of another
    sender is still there to be completed.
    """
    mine = parts(text(200))
    flood = [
        ("flood", Part(Reference(16, number), MOST_SEGMENTS, 1), bytes(127))
        for number in range(3 * MAX_WAITING)
    ]
    out, taken = play([mine[0], *flood, mine[1]])
    assert out == [text(200)]
    assert len(taken.waiting) <= MAX_WAITING


def test_endless_parts_with_one_reference_are_bounded() -> None:
    """Of the parts with one number only the newest few wait."""
    part = Part(REFERENCE, 2, 1)
    _, taken = play([("a", part, bytes((number,))) for number in range(50)])
    assert [waiting.octets for waiting in taken.waiting] == [
        bytes((number,)) for number in range(46, 50)
    ]
    assert len(taken.waiting) == MAX_ALIKE
    assert taken.dropped == 1


@given(st.lists(st.tuples(any_parts, st.integers(-90_000, 90_000)), max_size=60))
def test_whatever_comes_it_stays_bounded_and_makes_up_nothing(
    arrivals: list[tuple[Came, int]],
) -> None:
    """Every datagram consists of parts that came, of one sender, reference and count, and each
    waiting part came, at most once; jumps of the clock included.
    """
    waiting: tuple[WaitingPart, ...] = ()
    now = NOW
    seen: set[tuple[object, ...]] = set()
    for (sender, part, octets), seconds in arrivals:
        now += timedelta(seconds=seconds)
        seen.add((sender, part, octets))
        before = waiting
        taken = take(waiting, sender, part, octets, now=now)
        waiting = taken.waiting
        assert len(waiting) <= MAX_WAITING
        keys = [
            (h.sender, Part(Reference(h.bits, h.reference), h.count, h.number), h.octets)
            for h in waiting
        ]
        assert len(set(keys)) == len(keys)
        assert set(keys) <= seen
        if taken.datagram is not None:
            used = [*(h for h in before if h not in waiting), None]
            alike = [
                (h.number, h.octets)
                for h in used
                if h is not None
                and (h.sender, h.bits, h.reference, h.count)
                == (sender, part.reference.bits, part.reference.number, part.count)
                and abs(now - h.at) <= MAX_AGE
            ] + [(part.number, octets)]
            assert taken.datagram == b"".join(octets for _, octets in sorted(alike))
            assert all(a[0] + 1 == b[0] for a, b in pairwise(sorted(alike)))


def test_no_part_is_given_up_before_there_is_no_room() -> None:
    """As many parts wait as the limit allows; one more drops the oldest datagram."""
    flood = [("a", Part(Reference(16, number), 2, 1), b"x") for number in range(MAX_WAITING + 1)]
    _, full = play(flood[:-1])
    assert (len(full.waiting), full.dropped) == (MAX_WAITING, 0)
    _, over = play(flood)
    assert (len(over.waiting), over.dropped) == (MAX_WAITING, 1)
    assert over.waiting[0].reference == 1
