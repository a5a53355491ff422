"""Codec of the WSP *Push* PDU of an OMA Connectionless Push. Pure.

In order::

    TID 06                   transaction ID, PDU type Push               WAP-230-WSP, 8.2.1, 8.2.4.1
    HeadersLen               length of content type and headers, uintvar 8.2.4.1
    ContentType Headers      8.4.2.24, 8.4.2.6
    Data                     everything that is left

Over SMS it is a datagram to the push port, in one short message or several: `datagrams`.

Decoding is total: any octets give a `PushPdu` or a `PduError`. Encoding uses the shortest forms, so
so octets that were encoded in that way are the same after decoding and encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aoi_events.errors import MalformedPdu, NotAPush
from aoi_events.oma_push.content_type import (
    ContentType,
    encode_content_type,
    read_content_type,
)
from aoi_events.oma_push.wsp import (
    Header,
    Reader,
    encode_header,
    encode_integer,
    encode_integer_or_text,
    encode_uintvar,
)

_PUSH: Final = 0x06
_APPLICATION_ID: Final = 0x2F  # AF on the wire
_APPLICATION_ID_NAME: Final = "x-wap-application-id"


@dataclass(frozen=True, slots=True)
class PushPdu:
    """One connectionless push.

    ``transaction_id`` is 0 to 255 and identifies repeats. ``application_id`` is the value of
    X-Wap-Application-Id: a number of the OMNA register, a URI, or None where the header is absent.
    ``headers`` are all other headers, in wire order.
    """

    transaction_id: int
    content_type: ContentType
    application_id: int | str | None
    headers: tuple[Header, ...]
    body: bytes


def encode(pdu: PushPdu) -> bytes:
    """Encode ``pdu``.

    Raises `MalformedPdu` for a value that WSP cannot express (a transaction ID above 255, a text
    that is not printable ASCII, a header value that is not exactly one WSP value).
    """
    if not 0 <= pdu.transaction_id <= 0xFF:
        raise MalformedPdu(f"transaction ID {pdu.transaction_id} is not one octet")
    head = encode_content_type(pdu.content_type)
    if pdu.application_id is not None:
        head += encode_integer(_APPLICATION_ID) + encode_integer_or_text(pdu.application_id)
    for header in pdu.headers:
        if _names_application(header.name):
            raise MalformedPdu("X-Wap-Application-Id belongs in application_id, not in headers")
        head += encode_header(header)
    return bytes((pdu.transaction_id, _PUSH)) + encode_uintvar(len(head)) + head + pdu.body


def decode(octets: bytes) -> PushPdu:
    """Decode the push in a datagram to the push port.

    Raises `NotAPush` for another WSP PDU, and `MalformedPdu` for any other octets;
    header code pages other than the default one count as malformed.
    """
    reader = Reader(octets)
    transaction_id = reader.octet("the transaction ID")
    pdu_type = reader.octet("the PDU type")
    if pdu_type != _PUSH:
        raise NotAPush(f"WSP PDU type 0x{pdu_type:02X} is not Push (0x06)")
    head = Reader(reader.take(reader.uintvar("the length of the headers"), "the headers"))
    content_type = read_content_type(head)
    application_id: int | str | None = None
    headers: list[Header] = []
    while not head.at_end:
        name = head.header_name()
        if not _names_application(name):
            headers.append(Header(name, head.raw_value()))
        elif application_id is None:
            application_id = head.integer_or_text("X-Wap-Application-Id")
        else:
            raise MalformedPdu("X-Wap-Application-Id occurs twice")
    return PushPdu(transaction_id, content_type, application_id, tuple(headers), reader.rest())


def _names_application(name: int | str) -> bool:
    """Whether a header is X-Wap-Application-Id; some gateways write its name as text."""
    if isinstance(name, int):
        return name == _APPLICATION_ID
    return name.lower() == _APPLICATION_ID_NAME
