"""The codec of SMPP's PDUs, beside that of smpp34, which others wrote."""

from __future__ import annotations

import smpp34
from hypothesis import example, given
from hypothesis import strategies as st

from aoi_events.channels.sms.numbers import SmppAddress
from aoi_events.channels.sms.pdu import (
    Command,
    Message,
    Pdu,
    SubmitSm,
    bind_body,
    message_id_in,
    read_message,
    submit_body,
)
from aoi_events.errors import MalformedPdu
from tests.support.raw_smsc import report_body

ADDRESSES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
OCTETS = st.integers(0, 255)
TLVS = st.dictionaries(st.integers(0x1400, 0x3FFF), st.binary(max_size=80), max_size=3)


@given(
    source=st.builds(SmppAddress, st.integers(0, 6), st.integers(0, 18), ADDRESSES),
    number=st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True),
    text=st.binary(max_size=140),
    service_type=st.text("ABC", max_size=5),
    period=st.from_regex(r"([0-9]{15}[R+])?", fullmatch=True),
    octets=st.tuples(OCTETS, OCTETS, OCTETS),
)
def test_another_codec_reads_what_we_submit(
    source: SmppAddress,
    number: str,
    text: bytes,
    service_type: str,
    period: str,
    octets: tuple[int, int, int],
) -> None:
    """Every field of a submission is where smpp34 looks for it."""
    esm_class, data_coding, registered = octets
    message = SubmitSm(
        source,
        SmppAddress(1, 1, number),
        esm_class,
        data_coding,
        registered,
        text,
        service_type,
        period,
    )
    read = smpp34.decode(Pdu(Command.SUBMIT_SM, 0, 7, submit_body(message)).encode())
    assert isinstance(read, smpp34.SubmitSm)
    assert (read.source_addr_ton, read.source_addr_npi, read.source_addr) == (
        source.ton,
        source.npi,
        source.value,
    )
    assert (read.dest_addr_ton, read.dest_addr_npi, read.destination_addr) == (1, 1, number)
    assert (read.esm_class, read.data_coding, read.registered_delivery) == octets
    assert (read.service_type, read.validity_period) == (service_type, period)
    assert (read.short_message, read.sequence_number) == (text, 7)


@given(ADDRESSES, ADDRESSES, OCTETS, OCTETS, st.binary(max_size=254), TLVS)
def test_we_read_what_another_codec_delivers(
    source: str,
    destination: str,
    esm_class: int,
    data_coding: int,
    text: bytes,
    tlvs: dict[int, bytes],
) -> None:
    """A `deliver_sm` that smpp34 wrote has the same fields here."""
    octets = smpp34.DeliverSm(
        source,
        destination,
        text,
        esm_class=esm_class,
        data_coding=data_coding,
        tlvs=[smpp34.Tlv(tag, value) for tag, value in tlvs.items()],
    ).encode()
    read = read_message(Pdu(Command.DELIVER_SM, 0, 1, octets[16:]))
    assert read == Message(source, destination, esm_class, data_coding, text, tlvs)


def test_a_data_sm_has_its_text_in_a_parameter() -> None:
    """A `data_sm` has other mandatory fields, and no short message."""
    body = report_body(b"id:1 stat:DELIVRD", data_coding=8, data_sm=True)
    read = read_message(Pdu(Command.DATA_SM, 0, 1, body))
    assert (read.source, read.destination, read.esm_class) == ("31600000001", "AOI", 0x04)
    assert (read.data_coding, read.optional) == (8, {0x0424: b"id:1 stat:DELIVRD"})


def test_a_bind_has_its_fields_in_order() -> None:
    """A password may have any octets, and any length."""
    body = bind_body("aoi", "pässwörter".encode(), "VMA")
    assert body == b"aoi\0p\xc3\xa4ssw\xc3\xb6rter\0VMA\0\x34\0\0\0"


@given(st.sampled_from([Command.DELIVER_SM, Command.DATA_SM]), st.binary(max_size=300))
@example(Command.DELIVER_SM, report_body(b"id:1", optional=((0x1400, b"x" * 9),))[:-4])
def test_any_octets_are_a_message_or_malformed(command: Command, body: bytes) -> None:
    """Nothing that an SMSC sends raises anything but MalformedPdu."""
    try:
        message = read_message(Pdu(command, 0, 1, body))
    except MalformedPdu:
        return
    assert isinstance(message, Message)


@given(st.binary(max_size=80))
def test_a_message_id_is_printable_or_absent(body: bytes) -> None:
    """An ID that could not be compared with that of a receipt is none."""
    found = message_id_in(body)
    assert found is None or (found.isascii() and found.isprintable() and " " not in found)


def test_a_message_id_is_no_longer_than_smpp_allows() -> None:
    """64 octets and their end (5.2.23); a longer one would break the index of the database."""
    assert message_id_in(b"A" * 64 + b"\0") == "A" * 64
    assert message_id_in(b"A" * 65 + b"\0") is None
