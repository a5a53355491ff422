"""Our pushes, as tshark decodes them: see `vectors`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aoi_events.oma_push import pdu as push_pdu
from aoi_events.oma_push.datagrams import Segment, read
from tests.unit.oma_push.tshark.vectors import CONFIRMED, VECTORS

MESSAGES: list[dict[str, Any]] = json.loads(CONFIRMED.read_text())["messages"]
# tshark 4.0 shows a number above 127 by its length octet: 0x414F as number 2.
APPLICATIONS = {
    2: "x-wap-application:wml.ua",
    4: "x-wap-application:mms.ua",
    0x414F: "x-wap-application:wml.ua",
}


def confirmed(vector: str) -> list[dict[str, Any]]:
    """The message and the output of tshark, message by message."""
    return [message for message in MESSAGES if message["vector"] == vector]


@pytest.mark.parametrize("vector", VECTORS)
def test_we_write_the_octets_that_tshark_was_shown(vector: str) -> None:
    """The file is of these octets; when they change, tshark must be asked again."""
    shown = tuple(bytes.fromhex(message["user_data"]) for message in confirmed(vector))
    assert VECTORS[vector] == shown


@pytest.mark.parametrize("vector", VECTORS)
def test_tshark_reads_what_we_read(vector: str) -> None:
    """Port, reference, parts, the joined length; and of the push transaction, headers, content
    type, application and body.
    """
    segments: list[Segment] = []
    for message in confirmed(vector):
        segment, said = read(bytes.fromhex(message["user_data"])), message["tshark"]
        segments.append(segment)
        assert said["gsm_sms.destination_port"] == "2948"
        if segment.part is None:
            assert "gsm_sms.udh.mm.msg_id" not in said
            continue
        assert said["gsm_sms.udh.mm.msg_id"] == str(segment.part.reference.number)
        assert said["gsm_sms.udh.mm.msg_parts"] == str(segment.part.count)
        assert said["gsm_sms.udh.mm.msg_part"] == str(segment.part.number)
    datagram = b"".join(segment.octets for segment in segments)
    if len(segments) > 1:
        assert said["gsm_sms_ud.reassembled.length"] == str(len(datagram))
    pdu = push_pdu.decode(datagram)
    assert said["wsp.TID"] == f"0x{pdu.transaction_id:02x}"
    assert said["wsp.pdu_type"] == "0x06"
    assert said["wsp.headers_length"] == str(len(datagram) - len(pdu.body) - 3)
    assert said["wsp.header.content_type"] == pdu.media_type
    application = pdu.application_id
    if isinstance(application, int):
        application = APPLICATIONS[application]
    assert said.get("wsp.header.x_wap_application_id") == application
    if "data.data" in said:  # what tshark leaves to others it shows as it stands
        assert said["data.data"] == pdu.body.hex()
