"""Datagrams to the push port: one short message, or several with a reference."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.errors import MalformedPdu, NotAPush, PduError, PduTooLarge
from aoi_events.oma_push import datagrams
from aoi_events.oma_push.datagrams import (
    LARGEST_ALONE,
    LARGEST_PART,
    LARGEST_USER_DATA,
    MOST_SEGMENTS,
    Part,
    Reference,
    Segment,
    read,
    split,
)

references = st.one_of(
    st.builds(Reference, st.just(8), st.integers(0, 2**8 - 1)),
    st.builds(Reference, st.just(16), st.integers(0, 2**16 - 1)),
)
datagrams_of_any_size = st.integers(0, MOST_SEGMENTS * LARGEST_PART[16]).map(
    lambda size: bytes(index * 7 % 251 for index in range(size))
)


def elements_swapped(user_data: bytes) -> bytes:
    """The same short message with its two information elements the other way round."""
    length = user_data[0]
    header, data = user_data[1 : 1 + length], user_data[1 + length :]
    first = 2 + header[1]
    return bytes((length,)) + header[first:] + header[:first] + data


@given(datagrams_of_any_size, references)
def test_every_size_round_trips(datagram: bytes, reference: Reference) -> None:
    """Each part fits a short message and has its number; joined they are the whole, with
    the elements in either order.
    """
    messages = split(datagram, reference, most=MOST_SEGMENTS)
    assert len(messages) == datagrams.segments_of(len(datagram), reference.bits)
    segments = [read(message) for message in messages]
    assert b"".join(segment.octets for segment in segments) == datagram
    for number, (message, segment) in enumerate(zip(messages, segments, strict=True), 1):
        assert len(message) <= LARGEST_USER_DATA
        if len(messages) == 1:
            assert segment.part is None
        else:
            assert segment.part == Part(reference, len(messages), number)
            assert read(elements_swapped(message)) == segment


@pytest.mark.parametrize("bits, room", [(8, 128), (16, 127)])
def test_what_each_message_holds(bits: datagrams.Bits, room: int) -> None:
    """133 octets in one message; 128 or 127 in each of several, all but the last of them full."""
    reference = Reference(bits, 7)
    assert LARGEST_ALONE == 133
    assert len(split(bytes(133), reference, most=4)) == 1
    two = split(bytes(134), reference, most=4)
    assert [len(message) for message in two] == [140, 140 - room + 134 - room]
    assert len(split(bytes(4 * room), reference, most=4)) == 4
    with pytest.raises(PduTooLarge):
        split(bytes(4 * room + 1), reference, most=4)
    with pytest.raises(PduTooLarge):
        split(bytes(134), reference, most=1)


def test_the_octets_of_the_header() -> None:
    """Ports first, then the reference, the count and the number, as 23.040 writes them."""
    eight = split(bytes(140), Reference(8, 0xA7), most=2)
    assert eight[1].startswith(bytes.fromhex("0B 05040B8423F0 0003A70202"))
    sixteen = split(bytes(140), Reference(16, 0xA7B8), most=2)
    assert sixteen[0].startswith(bytes.fromhex("0C 05040B8423F0 0804A7B80201"))
    assert split(b"x", Reference(16, 1)) == (bytes.fromhex("06 05040B8423F0") + b"x",)


@pytest.mark.parametrize("reference", [Reference(8, 256), Reference(16, 65_536), Reference(8, -1)])
def test_a_reference_must_fit_its_bits(reference: Reference) -> None:
    """Cut to its width it would name another datagram."""
    with pytest.raises(MalformedPdu):
        split(bytes(140), reference, most=2)


@given(
    st.binary(max_size=160) | st.binary(max_size=133).map(bytes.fromhex("0605040B8423F0").__add__)
)
def test_any_octets_give_a_segment_or_a_pdu_error(octets: bytes) -> None:
    """Reading is total: random octets never raise anything but a PduError."""
    with suppress(PduError):
        read(octets)


@pytest.mark.parametrize(
    "octets, error",
    [
        ("", MalformedPdu),
        ("07 0605040B8423F0"[:-2], MalformedPdu),  # a header longer than the message
        ("03 04 05 01 07", MalformedPdu),  # an element longer than the header
        ("04 05 02 0B84 07", MalformedPdu),  # a port element that is too short
        ("06 05 04 0B8523F0 07", NotAPush),  # to port 2949
        ("00 07", NotAPush),  # no port at all
        ("05 0003010201 07", NotAPush),  # a part to no port
        ("0A 00 02 01 02 05040B8423F0 07", MalformedPdu),  # a concatenation that is cut
        ("0B 08 03 01 02 01 05040B8423F0 07", MalformedPdu),  # one that is too short for 16 bits
        ("0B 0003010200 05040B8423F0 07", MalformedPdu),  # part 0
        ("0B 0003010000 05040B8423F0 07", MalformedPdu),  # of no parts
        ("0B 0003010203 05040B8423F0 07", MalformedPdu),  # beyond the count
        ("0B 000301FF01 05040B8423F0 07", MalformedPdu),  # more parts than are read
        ("00" * 141, PduTooLarge),
    ],
)
def test_hostile_headers_fail_cleanly(octets: str, error: type[PduError]) -> None:
    """Each way to lie about lengths, ports and parts is refused with the error that names it."""
    with pytest.raises(error):
        read(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "header, part",
    [
        ("0A 7002AABB 05040B8423F0", None),  # an element that means nothing to a push
        ("0C 05040B8523F0 05040B8423F0", None),  # the last of two counts
        ("0B 0003010101 05040B8423F0", None),  # the only part is the whole
        ("10 0003010201 0003020302 05040B8423F0", Part(Reference(8, 2), 3, 2)),
        ("11 0003010201 080400050302 05040B8423F0", Part(Reference(16, 5), 3, 2)),
    ],
)
def test_of_elements_that_stand_twice_the_last_counts(header: str, part: Part | None) -> None:
    """As 23.040 has it (9.2.3.24); what is unknown is ignored."""
    assert read(bytes.fromhex(header) + b"\x01") == Segment(b"\x01", part)
