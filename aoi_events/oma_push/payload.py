"""The payload of a connectionless push from the AOI Server to the AOI Client. Pure.

The push is addressed to X-Wap-Application-Id 0x414F ("AO"), in the experimental part (0x4000 to
0x1FFFFF) of the OMNA register of push application IDs, where numbers need no registration; written
as a number it costs four octets of header. The content type is application/octet-stream, number
0x5A of OMNA's WSP content types, one octet. The body is binary, because every octet of a short
message costs::

    version 1 (4 bits), kind (4 bits)
    kind 1, content:    delivery (16)  token's fingerprint (8)  form (1) [length (1) type]  content
    kind 2, wake-up:    delivery (16)  token's fingerprint (8)
    kind 3, challenge:  code, printable ASCII, 1 to 32
    kind 4, content of several messages:  CRC-32 of what follows (4), then as kind 1

``form`` is a number of `_MEDIA_TYPES` (0: length and type follow as ASCII), plus 0x80 when the
content is not text but octets. Of the 133 octets of a PDU 8 are WSP's and 26 ours: 99 for content.
Of several messages each has 127 (16-bit reference), less 38 once: 470 octets of content in four.
The check detects parts of two pushes that a network mixed; it does not authenticate the sender.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from pydantic import ValidationError

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id, id_octets
from aoi_events.errors import MalformedPdu, NotAPush, PduTooLarge
from aoi_events.oma_push import pdu as push_pdu
from aoi_events.oma_push.datagrams import (
    LARGEST_ALONE,
    LARGEST_PART,
    MOST_SEGMENTS,
    Bits,
    Reference,
    segments_of,
    split,
)
from aoi_events.oma_push.wsp import Reader

LARGEST_CHALLENGE: Final = 32
"""Longest challenge code, in characters."""

_NO_REFERENCE: Final = Reference(16, 0)
_VERSION: Final = 1
_CONTENT, _WAKE_UP, _CHALLENGE, _CHECKED_CONTENT = 1, 2, 3, 4
_CHECK_OCTETS: Final = 4
_DELIVERY_OCTETS: Final = 16
_FINGERPRINT_OCTETS: Final = 8
_OTHER_MEDIA_TYPE: Final = 0
_MEDIA_TYPES: Final = ("", "text/plain", "application/octet-stream", "application/json")
_OCTETS_FLAG: Final = 0x80


@dataclass(frozen=True, slots=True)
class ContentPush:
    """A complete notification: its app instance (by fingerprint) and its content."""

    delivery: str
    fingerprint: str
    content: Content


@dataclass(frozen=True, slots=True)
class WakeUpPush:
    """A notification too large for a short message; the device fetches its content."""

    delivery: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ChallengePush:
    """A code that the device returns, to prove that it receives messages at this number."""

    code: str

    def __repr__(self) -> str:
        return "ChallengePush(code=…)"


Payload: TypeAlias = ContentPush | WakeUpPush | ChallengePush


def encode(
    payload: Payload, *, transaction_id: int, most: int = 1, reference: Reference = _NO_REFERENCE
) -> tuple[bytes, ...]:
    """Encode ``payload`` as the user data of short messages, in order: one, or up to ``most``.

    ``transaction_id`` is 0 to 255; ``reference`` distinguishes the parts of several messages from
    those of other pushes to the same telephone. Raises `PduTooLarge` when the content does not fit
    (send a wake-up instead), and `MalformedPdu` for an ID, a fingerprint or a code that does not
    have the form of the contracts.
    """
    body = _encode_body(payload)
    pdu = push_pdu.encode(transaction_id, body)
    if len(pdu) > LARGEST_ALONE and most > 1 and isinstance(payload, ContentPush):
        check = zlib.crc32(body[1:]).to_bytes(_CHECK_OCTETS, "big")
        body = _first(_CHECKED_CONTENT) + check + body[1:]
        pdu = push_pdu.encode(transaction_id, body)
    return split(pdu, reference, most=most)


def decode(pdu: bytes) -> Payload:
    """Decode the payload of a push from its datagram (`datagrams.read`, `reassembly.take`).

    Raises what `push_pdu.decode` raises, `NotAPush` for a push to another application, and
    `MalformedPdu` for a body that is not in our format.
    """
    push = push_pdu.decode(pdu)
    if push.application_id != push_pdu.APPLICATION_ID:
        raise NotAPush(f"the push is for another application ({push.media_type})")
    if push.media_type != push_pdu.OCTET_STREAM:
        raise MalformedPdu(f"the push is {push.media_type}, not octets")
    reader = Reader(push.body)
    first = reader.octet("version and kind")
    version, kind = first >> 4, first & 0x0F
    if version != _VERSION:
        raise MalformedPdu(f"version {version} of the payload is not understood")
    match kind:
        case 1:
            return ContentPush(*_read_names(reader), _read_content(reader))
        case 2:
            wake_up = WakeUpPush(*_read_names(reader))
            if not reader.at_end:
                raise MalformedPdu("octets behind the wake-up")
            return wake_up
        case 3:
            return ChallengePush(_checked_code(reader.rest().decode("ascii", "replace")))
        case 4:
            check = int.from_bytes(reader.take(_CHECK_OCTETS, "the check"), "big")
            if zlib.crc32(push.body[1 + _CHECK_OCTETS :]) != check:
                raise MalformedPdu("the parts are of different pushes, or damaged")
            return ContentPush(*_read_names(reader), _read_content(reader))
        case _:
            raise MalformedPdu(f"kind {kind} of payload is not understood")


def room_for(content: Content) -> int:
    """Octets that ``content`` takes in a push, to compare with `largest_content`.

    Its own octets, and those of a media type that has no number. Content that a sender encrypted
    never fits, because the format has no field for how it was encrypted: the push is a wake-up.
    """
    if content.encryption is not None:
        return _NEVER
    return len(content.octets()) + len(_encode_form(content)) - 1


def largest_content(most: int, bits: Bits) -> int:
    """Octets of content in a push of up to ``most`` short messages, of which several have a
    reference of so many bits: 99 in one. A media type that is not numbered takes some of them.
    """
    if most == 1:
        return LARGEST_ALONE - _OVERHEAD
    return most * LARGEST_PART[bits] - _OVERHEAD - _CHECK_OCTETS


def messages_for(content: Content, bits: Bits) -> int:
    """Number of short messages for a push of ``content``."""
    octets = _OVERHEAD + room_for(content)
    return 1 if octets <= LARGEST_ALONE else segments_of(octets + _CHECK_OCTETS, bits)


def _encode_body(payload: Payload) -> bytes:
    match payload:
        case ContentPush(delivery, fingerprint, content):
            if content.encryption is not None:
                raise PduTooLarge(room_for(content), largest_content(1, 16))
            names = _encode_names(delivery, fingerprint)
            return _first(_CONTENT) + names + _encode_form(content) + content.octets()
        case WakeUpPush(delivery, fingerprint):
            return _first(_WAKE_UP) + _encode_names(delivery, fingerprint)
        case ChallengePush(code):
            return _first(_CHALLENGE) + _checked_code(code).encode("ascii")
        case _:
            assert_never(payload)


def _first(kind: int) -> bytes:
    return bytes((_VERSION << 4 | kind,))


def _encode_names(delivery: str, fingerprint: str) -> bytes:
    return _octets(delivery, "dlv_", _DELIVERY_OCTETS) + _octets(
        fingerprint, "fp_", _FINGERPRINT_OCTETS
    )


def _octets(identifier: str, prefix: str, count: int) -> bytes:
    try:
        octets = id_octets(identifier)
    except ValueError:
        octets = b""
    if len(octets) != count or base32_id(prefix, octets) != identifier:
        raise MalformedPdu(f"an ID that is not {prefix!r} and base32 of {count} octets")
    return octets


def _read_names(reader: Reader) -> tuple[str, str]:
    delivery = reader.take(_DELIVERY_OCTETS, "the delivery ID")
    fingerprint = reader.take(_FINGERPRINT_OCTETS, "the fingerprint")
    return base32_id("dlv_", delivery), base32_id("fp_", fingerprint)


def _encode_form(content: Content) -> bytes:
    flag = _OCTETS_FLAG if content.encoding == "base64" else 0
    if content.type in _MEDIA_TYPES:
        return bytes((_MEDIA_TYPES.index(content.type) | flag,))
    media = content.type.encode("ascii")
    return bytes((_OTHER_MEDIA_TYPE | flag, len(media))) + media


def _read_content(reader: Reader) -> Content:
    form = reader.octet("the form of the content")
    number = form & ~_OCTETS_FLAG
    if number >= len(_MEDIA_TYPES):
        raise MalformedPdu(f"media type {number} is not known")
    if number == _OTHER_MEDIA_TYPE:
        media_octets = reader.take(reader.octet("the media type"), "the media type")
        media = media_octets.decode("ascii", "replace")
    else:
        media = _MEDIA_TYPES[number]
    octets = reader.rest()
    try:
        if form & _OCTETS_FLAG:
            data = base64.b64encode(octets).decode("ascii")
            return Content(data=data, encoding="base64", type=media)
        return Content(data=octets.decode(), type=media)
    except UnicodeDecodeError:
        raise MalformedPdu("text content that is not UTF-8") from None
    except ValidationError:
        raise MalformedPdu("an invalid media type") from None


def _checked_code(code: str) -> str:
    if not 1 <= len(code) <= LARGEST_CHALLENGE or not all("!" <= c <= "~" for c in code):
        raise MalformedPdu(f"a challenge is 1 to {LARGEST_CHALLENGE} printable ASCII characters")
    return code


_OVERHEAD: Final = len(push_pdu.encode(0, b"")) + 2 + _DELIVERY_OCTETS + _FINGERPRINT_OCTETS
"""Octets of a push with content beside the content: 34, of which 2 are the kind and the form."""
_NEVER: Final = 1 + largest_content(MOST_SEGMENTS, 8)
