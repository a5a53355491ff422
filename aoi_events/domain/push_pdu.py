"""OMA Connectionless Push over SMS: the bytes of one short message, and nothing else.

A connectionless push is a WSP *Push* PDU in a WDP datagram, and over SMS a datagram is the user
data of a binary (8-bit) message: a user data header that names the ports, then the PDU::

    06                       length of the user data header              3GPP TS 23.040, 9.2.3.24
    05 04 0B84 23F0          16-bit ports: to 2948 (push), from 9200     23.040, 9.2.3.24.4
    TID 06                   transaction ID, PDU type Push               WAP-230-WSP, 8.2.1, 8.2.4.1
    HeadersLen               length of content type and headers, uintvar 8.2.4.1
    ContentType Headers      8.4.2.24, 8.4.2.6
    Data                     everything that is left

A user data field holds 140 octets, so 133 are left for the PDU (WAP-259-WDP, GSM SMS). Only a push
that fits one short message is built or read here; a segment of a longer one (information elements
00 and 08) is answered with `SegmentedPush`.

Decoding is total: any bytes give a `PushPdu` or a `PduError`, and more than 140 are not looked at.
Encoding uses the shortest forms, so it gives the same bytes again for whatever was encoded so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aoi_events.domain.wsp import (
    Header,
    Reader,
    encode_header,
    encode_integer,
    encode_integer_or_text,
    encode_length,
    encode_uintvar,
)
from aoi_events.errors import MalformedPdu, NotAPush, PduTooLarge, SegmentedPush

__all__ = [
    "LARGEST_PDU",
    "LARGEST_USER_DATA",
    "PUSH_PORT",
    "ContentType",
    "Header",
    "PushPdu",
    "decode",
    "encode",
]

LARGEST_USER_DATA: Final = 140
"""Octets of user data in one short message, user data header included."""

PUSH_PORT: Final = 2948
"""WAP Push, connectionless session service (IANA ``wap-push``)."""

_USER_DATA_HEADER: Final = bytes.fromhex("0605040B8423F0")

LARGEST_PDU: Final = LARGEST_USER_DATA - len(_USER_DATA_HEADER)
"""Octets left for the WSP PDU in one short message: 133."""

_PUSH: Final = 0x06
_PORTS_16_BIT: Final = 0x05
_CONCATENATION: Final = frozenset({0x00, 0x08})
_APPLICATION_ID: Final = 0x2F  # X-Wap-Application-Id; AF on the wire
_LARGEST_SHORT_INTEGER: Final = 0x7F


@dataclass(frozen=True, slots=True)
class ContentType:
    """What the body is (WAP-230-WSP, 8.4.2.24).

    ``media`` is a number of the well-known list (OMNA; 0x2E is application/vnd.wap.sic) or a media
    type as text; ``parameters`` are the octets of its parameters as they stand on the wire.
    """

    media: int | str
    parameters: bytes = b""


@dataclass(frozen=True, slots=True)
class PushPdu:
    """One connectionless push that fits one short message.

    ``transaction_id`` is 0 to 255 and only tells repeats apart. ``application_id`` is the value of
    X-Wap-Application-Id: a number of the OMNA register, a URI, or None where the header is absent.
    ``headers`` are all other headers, in wire order.
    """

    transaction_id: int
    content_type: ContentType
    application_id: int | str | None
    headers: tuple[Header, ...]
    body: bytes


def encode(pdu: PushPdu) -> bytes:
    """The user data of the short message that carries ``pdu``, user data header first.

    Raises `PduTooLarge` beyond 140 octets, and `MalformedPdu` for a part that WSP cannot express
    (a transaction ID above 255, a text that is not printable ASCII, a header value that is not
    exactly one WSP value).
    """
    if not 0 <= pdu.transaction_id <= 0xFF:
        raise MalformedPdu(f"transaction ID {pdu.transaction_id} is not one octet")
    head = _encode_content_type(pdu.content_type)
    if pdu.application_id is not None:
        head += encode_integer(_APPLICATION_ID) + encode_integer_or_text(pdu.application_id)
    for header in pdu.headers:
        if header.name == _APPLICATION_ID:
            raise MalformedPdu("X-Wap-Application-Id belongs in application_id, not in headers")
        head += encode_header(header)
    user_data = (
        _USER_DATA_HEADER
        + bytes((pdu.transaction_id, _PUSH))
        + encode_uintvar(len(head))
        + head
        + pdu.body
    )
    if len(user_data) > LARGEST_USER_DATA:
        raise PduTooLarge(len(user_data), LARGEST_USER_DATA)
    return user_data


def decode(user_data: bytes) -> PushPdu:
    """The push in the user data of one short message.

    Raises `PduTooLarge` for more than 140 octets, `SegmentedPush` for a part of a longer message,
    `NotAPush` for a message to another port or another WSP PDU, and `MalformedPdu` for everything
    else that is no push; header code pages other than the default one count as malformed.
    """
    if len(user_data) > LARGEST_USER_DATA:
        raise PduTooLarge(len(user_data), LARGEST_USER_DATA)
    reader = Reader(user_data)
    _check_user_data_header(reader)
    transaction_id = reader.octet("the transaction ID")
    pdu_type = reader.octet("the PDU type")
    if pdu_type != _PUSH:
        raise NotAPush(f"WSP PDU type 0x{pdu_type:02X} is not Push (0x06)")
    head = Reader(reader.take(reader.uintvar("the length of the headers"), "the headers"))
    content_type = _read_content_type(head)
    application_id: int | str | None = None
    headers: list[Header] = []
    while not head.at_end:
        name = head.header_name()
        if name != _APPLICATION_ID:
            headers.append(Header(name, head.raw_value()))
        elif application_id is None:
            application_id = head.integer_or_text("X-Wap-Application-Id")
        else:
            raise MalformedPdu("X-Wap-Application-Id stands twice")
    return PushPdu(transaction_id, content_type, application_id, tuple(headers), reader.rest())


def _check_user_data_header(reader: Reader) -> None:
    length = reader.octet("the length of the user data header")
    elements = Reader(reader.take(length, "the user data header"))
    destination: int | None = None
    while not elements.at_end:
        identifier = elements.octet("an information element")
        data = elements.take(elements.octet("the length of an element"), "an information element")
        if identifier in _CONCATENATION:
            raise SegmentedPush
        if identifier == _PORTS_16_BIT:
            if len(data) != 4:
                raise MalformedPdu(f"the port element holds {len(data)} octets instead of 4")
            destination = int.from_bytes(data[:2], "big")
    if destination != PUSH_PORT:
        where = "to no port" if destination is None else f"to port {destination}"
        raise NotAPush(f"the message goes {where}, not to port {PUSH_PORT}")


def _encode_content_type(content_type: ContentType) -> bytes:
    media = encode_integer_or_text(content_type.media)
    fits_constrained_form = (
        isinstance(content_type.media, str) or content_type.media <= _LARGEST_SHORT_INTEGER
    )
    if fits_constrained_form and not content_type.parameters:
        return media
    general = media + content_type.parameters
    return encode_length(len(general)) + general


def _read_content_type(head: Reader) -> ContentType:
    what = "the content type"
    if not head.starts_with_length:
        return ContentType(head.integer_or_text(what))
    general = Reader(head.take(head.length(what), what))
    return ContentType(general.integer_or_text(what), general.rest())
