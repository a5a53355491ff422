"""Pushes whose octets tshark decoded, and the command that lets it do so again.

``confirmed.json`` beside this file is what tshark says of `VECTORS`. With tshark (Debian's package)
installed, ``python -m tests.unit.oma_push.tshark.vectors`` writes it anew: every short message goes
into an SMPP ``submit_sm``, the submissions into a capture file, and the capture into tshark.
"""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.oma_push import payload as push_payload
from aoi_events.oma_push.datagrams import Bits, Reference, split
from aoi_events.oma_push.payload import ChallengePush, ContentPush, Payload, WakeUpPush

CONFIRMED: Final = Path(__file__).with_name("confirmed.json")
TSHARK: Final = (
    "tshark",
    "-o",
    "gsm_sms_ud.port_number_udh_means_wsp:TRUE",
    "-T",
    "fields",
    "-E",
    "occurrence=a",
    "-E",
    "aggregator= ",
    "-E",
    "separator=|",
)
FIELDS: Final = (
    "gsm_sms.destination_port",
    "gsm_sms.udh.mm.msg_id",
    "gsm_sms.udh.mm.msg_parts",
    "gsm_sms.udh.mm.msg_part",
    "gsm_sms_ud.reassembled.length",
    "wsp.TID",
    "wsp.pdu_type",
    "wsp.headers_length",
    "wsp.header.content_type",
    "wsp.header.x_wap_application_id",
    "data.data",
    "_ws.malformed",
)
_DELIVERY: Final = base32_id("dlv_", bytes(range(16)))
_FINGERPRINT: Final = base32_id("fp_", bytes(range(8)))
SERVICE_INDICATION: Final = bytes.fromhex(
    "0605040B8423F025060403AE81EA01056A0045C60C03752E736D73702E67722F643565676E6200080103"
    "436F6D6520696E746F206F75722073746F726520746F20676574206120667265652070697A7A61212121000101"
)


def _ours(payload: Payload, bits: Bits = 16, number: int = 0x1234) -> tuple[bytes, ...]:
    reference = Reference(bits, number)
    return push_payload.encode(payload, transaction_id=7, most=4, reference=reference)


def _content(size: int) -> ContentPush:
    text = "".join(chr(97 + index % 26) for index in range(size))
    return ContentPush(_DELIVERY, _FINGERPRINT, Content(data=text))


def _alone(head: bytes) -> bytes:
    """A push of another sender with these headers, in one short message."""
    pdu = bytes((0x21, 6, len(head))) + head + b"body"
    [user_data] = split(pdu, Reference(16, 0))
    return user_data


VECTORS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "service indication": (SERVICE_INDICATION,),
    "content": _ours(_content(8)),
    "largest content in one": _ours(_content(99)),
    "wake-up": _ours(WakeUpPush(_DELIVERY, _FINGERPRINT)),
    "challenge": _ours(ChallengePush("K7QM-2XPD")),
    "two parts, 16-bit": _ours(_content(100)),
    "four parts, 16-bit": _ours(_content(470), 16, 0xFFFE),
    "four parts, 8-bit": _ours(_content(474), 8, 0xA5),
    **{
        f"content type {number:#04x}": (_alone(bytes((0x80 | number, 0xAF, 0x84))),)
        for number in bytes.fromhex("02 03 08 14 27 28 29 2D 2E 2F 30 31 32 35 36 3E 42 43 44 5A")
    },
    "charset": (_alone(b"\x03\x83\x81\xea" + b"\xaf\x82"),),
    "media type as text": (_alone(b"application/vnd.example.score\0" + b"\xaf\x82"),),
    "application as text": (_alone(b"\xda" + b"\xafx-wap-application:wml.ua\0"),),
    "other headers": (_alone(b"\xda" + b"\xaf\x84" + b"\xb4\x83" + b"X-A\0b\0"),),
}


def _submissions() -> Iterator[tuple[str, bytes]]:
    for name, messages in VECTORS.items():
        for user_data in messages:
            yield name, user_data


def _submit_sm(sequence: int, user_data: bytes) -> bytes:
    body = b"\0\x01\x01AOI\0\x01\x0131600000001\0\x40\0\0\0\0\x01\0\x04\0"
    body += bytes((len(user_data),)) + user_data
    return struct.pack(">IIII", 16 + len(body), 4, 0, sequence) + body


def _capture() -> bytes:
    """A capture file (pcap, raw IP) with one TCP segment for each submission."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    position = 1
    for number, (_, user_data) in enumerate(_submissions(), 1):
        smpp = _submit_sm(number, user_data)
        tcp = struct.pack(">HHIIBBHHH", 40_000, 2775, position, 1, 5 << 4, 0x18, 65_535, 0, 0)
        position += len(smpp)
        length = 20 + len(tcp) + len(smpp)
        address = bytes((127, 0, 0, 1))
        ip = struct.pack(">BBHHHBBH", 0x45, 0, length, number, 0, 64, 6, 0) + address * 2
        out += struct.pack("<IIII", number, 0, length, length) + ip + tcp + smpp
    return out


def main() -> None:
    """Write the output of tshark into the file."""
    fields = [argument for field in FIELDS for argument in ("-e", field)]
    with tempfile.NamedTemporaryFile(suffix=".pcap") as capture:
        capture.write(_capture())
        capture.flush()
        command = [*TSHARK, "-r", capture.name, *fields]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    version = subprocess.run(["tshark", "--version"], check=True, capture_output=True, text=True)  # noqa: S607
    rows = []
    for (vector, user_data), line in zip(_submissions(), shown.splitlines(), strict=True):
        values = {
            field: value for field, value in zip(FIELDS, line.split("|"), strict=True) if value
        }
        rows.append({"vector": vector, "user_data": user_data.hex(), "tshark": values})
    written = {"by": version.stdout.splitlines()[0], "messages": rows}
    CONFIRMED.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
