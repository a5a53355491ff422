"""Codec of the WSP *Push* PDU of an OMA Connectionless Push. Pure.

In order::

    TID 06                   transaction ID, PDU type Push               WAP-230-WSP, 8.2.1, 8.2.4.1
    HeadersLen               length of content type and headers, uintvar 8.2.4.1
    ContentType Headers      8.4.2.24, 8.4.2.6
    Data                     everything that is left

Over SMS it is a datagram to the push port, in one short message or several: `datagrams`.

Every push that we send has the same headers. Decoding is for pushes of any sender, and total: any
octets give a `PushPdu` or a `PduError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aoi_events.errors import MalformedPdu, NotAPush
from aoi_events.oma_push.content_type import read_media_type
from aoi_events.oma_push.wsp import Reader

APPLICATION_ID: Final = 0x414F
"""X-Wap-Application-Id of pushes to an AOI Client (experimental range of the OMNA register)."""
OCTET_STREAM: Final = "application/octet-stream"
"""The media type of a push to an AOI Client."""

_PUSH: Final = 0x06
_HEADERS: Final = bytes.fromhex("DA AF02414F")
"""Content type number 0x5A (octets), and X-Wap-Application-Id `APPLICATION_ID`."""
_APPLICATION_ID_NAMES: Final = frozenset({0x2F, "x-wap-application-id"})
"""The number of the header, AF on the wire, and its name, which some gateways write as text."""


@dataclass(frozen=True, slots=True)
class PushPdu:
    """One connectionless push.

    ``transaction_id`` is 0 to 255 and identifies repeats. ``application_id`` is the value of
    X-Wap-Application-Id: a number of the OMNA register, a URI, or None where the header is absent.
    """

    transaction_id: int
    media_type: str
    application_id: int | str | None
    body: bytes


def encode(transaction_id: int, body: bytes) -> bytes:
    """Encode a push to an AOI Client. Raises `MalformedPdu` for a transaction ID above 255."""
    if not 0 <= transaction_id <= 0xFF:
        raise MalformedPdu(f"transaction ID {transaction_id} is not one octet")
    return bytes((transaction_id, _PUSH, len(_HEADERS))) + _HEADERS + body


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
    media_type = read_media_type(head)
    application_id: int | str | None = None
    while not head.at_end:
        name = head.header_name()
        if (name.lower() if isinstance(name, str) else name) not in _APPLICATION_ID_NAMES:
            head.skip_value()
        elif application_id is None:
            application_id = head.integer_or_text("X-Wap-Application-Id")
        else:
            raise MalformedPdu("X-Wap-Application-Id occurs twice")
    return PushPdu(transaction_id, media_type, application_id, reader.rest())
