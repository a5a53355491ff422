"""WDP datagrams over SMS, in one short message or in several (concatenated). Pure.

A datagram is the user data of binary (8-bit) messages, each with a user data header::

    len                      length of the user data header             3GPP TS 23.040, 9.2.3.24
    05 04 0B84 23F0          16-bit ports: to 2948 (push), from 9200    23.040, 9.2.3.24.4
    00 03 ref count number   which part of how many, 8-bit reference    23.040, 9.2.3.24.1
    08 04 ref ref count number   the same with a 16-bit reference       23.040, 9.2.3.24.8

The elements come in any order; if one comes twice, or both forms of concatenation, the last counts
(9.2.3.24). A user data field has 140 octets (WAP-259-WDP, GSM SMS): 133 for a datagram in one
message, 128 or 127 in each of several. An impossible part (number 0, or above the count) is
refused; 23.040 ignores the element, but a part of a push is no push.

Reading is total: any octets give a `Segment` or a `PduError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from aoi_events.errors import MalformedPdu, NotAPush, PduTooLarge
from aoi_events.oma_push.wsp import Reader

LARGEST_USER_DATA: Final = 140
"""Octets of user data in one short message, user data header included."""

PUSH_PORT: Final = 2948
"""WAP Push, connectionless session service (IANA ``wap-push``)."""

MOST_SEGMENTS: Final = 16
"""Most short messages of one datagram that are written or read here; 23.040 has room for 255."""

Bits: TypeAlias = Literal[8, 16]
"""Width of a reference."""

_PORTS: Final = bytes.fromhex("05040B8423F0")
_PORTS_16_BIT: Final = 0x05
_CONCATENATIONS: Final[Mapping[int, Bits]] = {0x00: 8, 0x08: 16}
_ELEMENTS: Final[Mapping[Bits, int]] = {bits: name for name, bits in _CONCATENATIONS.items()}

LARGEST_ALONE: Final = LARGEST_USER_DATA - 1 - len(_PORTS)
"""Octets of a datagram in one short message: 133."""

LARGEST_PART: Final[Mapping[Bits, int]] = {8: LARGEST_ALONE - 5, 16: LARGEST_ALONE - 6}
"""Octets of a datagram in each of several short messages, by the width of the reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The number, of 8 or 16 bits, that the parts of one datagram have in common."""

    bits: Bits
    number: int


@dataclass(frozen=True, slots=True)
class Part:
    """The position of a part in its datagram: ``number`` (from 1) of ``count``."""

    reference: Reference
    count: int
    number: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The content of one short message: a datagram (``part`` None), or a part of one."""

    octets: bytes
    part: Part | None = None


def segments_of(octets: int, bits: Bits) -> int:
    """Number of short messages for a datagram of so many octets."""
    return 1 if octets <= LARGEST_ALONE else -(-octets // LARGEST_PART[bits])


def split(datagram: bytes, reference: Reference, *, most: int = 1) -> tuple[bytes, ...]:
    """Split ``datagram`` into the user data of at most ``most`` short messages, in order.

    ``reference`` distinguishes the parts from those of other datagrams; one message has none.
    Raises `PduTooLarge`, and `MalformedPdu` for a reference that its bits cannot hold.
    """
    room = LARGEST_PART[reference.bits]
    count = segments_of(len(datagram), reference.bits)
    if count > min(most, MOST_SEGMENTS):
        raise PduTooLarge(len(datagram), LARGEST_ALONE if most == 1 else most * room)
    if count == 1:
        return (_headed(_PORTS) + datagram,)
    if not 0 <= reference.number < 1 << reference.bits:
        raise MalformedPdu(f"reference {reference.number} does not fit {reference.bits} bits")
    return tuple(
        _headed(_PORTS + _element(Part(reference, count, index + 1)))
        + datagram[index * room : (index + 1) * room]
        for index in range(count)
    )


def read(user_data: bytes) -> Segment:
    """Read the user data of one short message to the push port.

    Raises `PduTooLarge` for more than 140 octets, `NotAPush` for another port, and `MalformedPdu`
    for an invalid header or an impossible part.
    """
    if len(user_data) > LARGEST_USER_DATA:
        raise PduTooLarge(len(user_data), LARGEST_USER_DATA)
    reader = Reader(user_data)
    length = reader.octet("the length of the user data header")
    elements = Reader(reader.take(length, "the user data header"))
    destination: int | None = None
    concatenation: tuple[Bits, bytes] | None = None
    while not elements.at_end:
        identifier = elements.octet("an information element")
        data = elements.take(elements.octet("the length of an element"), "an information element")
        if identifier == _PORTS_16_BIT:
            if len(data) != 4:
                raise MalformedPdu(f"the port element has {len(data)} octets instead of 4")
            destination = int.from_bytes(data[:2], "big")
        elif identifier in _CONCATENATIONS:
            concatenation = _CONCATENATIONS[identifier], data
    if destination != PUSH_PORT:
        where = "to no port" if destination is None else f"to port {destination}"
        raise NotAPush(f"the message goes {where}, not to port {PUSH_PORT}")
    return Segment(reader.rest(), None if concatenation is None else _part(*concatenation))


def _headed(elements: bytes) -> bytes:
    return bytes((len(elements),)) + elements


def _element(part: Part) -> bytes:
    bits = part.reference.bits
    data = part.reference.number.to_bytes(bits // 8, "big") + bytes((part.count, part.number))
    return bytes((_ELEMENTS[bits], len(data))) + data


def _part(bits: Bits, data: bytes) -> Part | None:
    width = bits // 8
    if len(data) != width + 2:
        raise MalformedPdu(f"the concatenation element has {len(data)} octets, not {width + 2}")
    count, number = data[width], data[width + 1]
    if not 1 <= number <= count:
        raise MalformedPdu(f"part {number} of {count} is impossible")
    if count > MOST_SEGMENTS:
        raise MalformedPdu(f"a push of {count} short messages; at most {MOST_SEGMENTS} are read")
    reference = Reference(bits, int.from_bytes(data[:width], "big"))
    return None if count == 1 else Part(reference, count, number)
