"""The PDUs of SMPP 3.4 that an ESME needs, to octets and from them. Pure.

Lenient with what an SMSC sends: optional parameters behind a truncated one are left out, statuses
and parameters that the standard does not define are values as any other.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from aoi_events.channels.sms.numbers import SmppAddress
from aoi_events.errors import MalformedPdu

HEADER: Final = struct.Struct(">IIII")
"""Length, command, status and sequence number (SMPP 3.4, 3.2)."""

MOST_OCTETS: Final = 70_000
"""Longest PDU that is read: one optional parameter of 65,535 octets, and all others."""

LAST_SEQUENCE: Final = 0x7FFFFFFF
RESPONSE: Final = 0x80000000
"""The bit of a command that makes it a response."""

_VERSION: Final = 0x34
_MOST_SHORT_MESSAGE: Final = 254
_LONGEST_ID: Final = 64  # octets without NUL, SMPP 3.4, 5.2.23
_TLV: Final = struct.Struct(">HH")


class Command(IntEnum):
    """The commands that we send or take (SMPP 3.4, 5.1.2.1)."""

    GENERIC_NACK = RESPONSE
    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    OUTBIND = 0x0B
    ENQUIRE_LINK = 0x15
    ALERT_NOTIFICATION = 0x102
    DATA_SM = 0x103


@dataclass(frozen=True, slots=True)
class Pdu:
    """One PDU; ``command`` may be any number."""

    command: int
    status: int
    sequence: int
    body: bytes = b""

    @property
    def is_response(self) -> bool:
        """Whether it answers a request of ours."""
        return bool(self.command & RESPONSE)

    def encode(self) -> bytes:
        """Its octets."""
        length = HEADER.size + len(self.body)
        return HEADER.pack(length, self.command, self.status, self.sequence) + self.body


@dataclass(frozen=True, slots=True)
class SubmitSm:
    """The fields of a ``submit_sm`` that we use (SMPP 3.4, 4.4.1)."""

    source: SmppAddress
    destination: SmppAddress
    esm_class: int
    data_coding: int
    registered_delivery: int
    short_message: bytes
    service_type: str = ""
    validity_period: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """The content of a ``deliver_sm`` or ``data_sm``; addresses as the SMSC wrote them."""

    source: str
    destination: str
    esm_class: int
    data_coding: int = 0
    short_message: bytes = b""
    optional: Mapping[int, bytes] = field(default_factory=dict)


def bind_body(system_id: str, password: bytes, system_type: str) -> bytes:
    """The body of a bind of any kind, for every address."""
    texts = (system_id.encode("ascii"), password, system_type.encode("ascii"))
    return b"".join(_c_octets(text) for text in texts) + bytes((_VERSION, 0, 0)) + b"\0"


def submit_body(message: SubmitSm) -> bytes:
    """The body of a ``submit_sm``. Raises MalformedPdu for more than 254 octets of message."""
    if len(message.short_message) > _MOST_SHORT_MESSAGE:
        raise MalformedPdu(f"a short message of {len(message.short_message)} octets")
    return b"".join(
        (
            _c_octets(message.service_type.encode("ascii")),
            _address(message.source),
            _address(message.destination),
            bytes((message.esm_class, 0, 0)),
            b"\0",  # delivered at once
            _c_octets(message.validity_period.encode("ascii")),
            bytes((message.registered_delivery, 0, message.data_coding, 0)),
            bytes((len(message.short_message),)),
            message.short_message,
        )
    )


def message_id_in(body: bytes) -> str | None:
    """The message ID in a response to ``submit_sm``; None if there is none that can be noted."""
    octets = body.partition(b"\0")[0]
    usable = 0 < len(octets) <= _LONGEST_ID and is_printable(octets)
    return octets.decode("ascii") if usable else None


def is_printable(octets: bytes) -> bool:
    """Whether these are printable ASCII characters without a space."""
    return all(0x20 < octet < 0x7F for octet in octets)


def read_message(pdu: Pdu) -> Message:
    """The message in a ``deliver_sm`` or ``data_sm``. Raises MalformedPdu."""
    reader = _Reader(pdu.body)
    reader.c_octets()  # service_type
    source, destination = reader.address(), reader.address()
    esm_class = reader.octet()
    if pdu.command == Command.DATA_SM:
        reader.octet()  # registered_delivery
        data_coding, short_message = reader.octet(), b""
    else:
        reader.take(2)  # protocol_id, priority_flag
        reader.c_octets()  # schedule_delivery_time
        reader.c_octets()  # validity_period
        reader.take(2)  # registered_delivery, replace_if_present_flag
        data_coding, _, length = reader.take(3)
        short_message = reader.take(length)
    optional = _optional(pdu.body[reader.position :])
    return Message(source, destination, esm_class, data_coding, short_message, optional)


class _Reader:
    """Reads mandatory parameters one after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._octets):
            raise MalformedPdu("a PDU that ends before its last mandatory parameter")
        taken, self.position = self._octets[self.position : end], end
        return taken

    def octet(self) -> int:
        return self.take(1)[0]

    def c_octets(self) -> bytes:
        end = self._octets.find(b"\0", self.position)
        if end < 0:
            raise MalformedPdu("a text without its end")
        return self.take(end + 1 - self.position)[:-1]

    def address(self) -> str:
        self.take(2)  # type of number, numbering plan
        return self.c_octets().decode("latin-1")


def _optional(octets: bytes) -> dict[int, bytes]:
    """Optional parameters by tag; of one that comes twice the first."""
    found: dict[int, bytes] = {}
    position = 0
    while position + _TLV.size <= len(octets):
        tag, length = _TLV.unpack_from(octets, position)
        position += _TLV.size
        if position + length > len(octets):
            break
        found.setdefault(tag, octets[position : position + length])
        position += length
    return found


def _c_octets(text: bytes) -> bytes:
    """A text with its end; the settings refuse NUL inside."""
    return text + b"\0"


def _address(address: SmppAddress) -> bytes:
    return bytes((address.ton, address.npi)) + _c_octets(address.value.encode("ascii"))
