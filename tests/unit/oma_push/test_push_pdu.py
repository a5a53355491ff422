"""The codec of the WSP Push PDU."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.errors import MalformedPdu, NotAPush, PduError
from aoi_events.oma_push import pdu as push_pdu
from aoi_events.oma_push.content_type import MEDIA_TYPES
from aoi_events.oma_push.datagrams import read
from aoi_events.oma_push.pdu import PushPdu

# A service indication as a commercial gateway sends it.
SERVICE_INDICATION = bytes.fromhex(
    "0605040B8423F025060403AE81EA01056A0045C60C03752E736D73702E67722F643565676E6200080103"
    "436F6D6520696E746F206F75722073746F726520746F20676574206120667265652070697A7A61212121000101"
)

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)


def as_integer(number: int) -> bytes:
    """Integer-value in its shortest form (8.4.2.3)."""
    if number < 0x80:
        return bytes((0x80 | number,))
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes((len(octets),)) + octets


def as_value(value: int | str) -> bytes:
    """A number, or a text with its end."""
    return as_integer(value) if isinstance(value, int) else value.encode() + b"\0"


def as_uintvar(number: int) -> bytes:
    """Groups of seven bits, most significant first (8.1.2)."""
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(number & 0x7F | 0x80)
    return bytes(reversed(octets))


def as_length(length: int) -> bytes:
    """Value-length (8.4.2.2)."""
    return bytes((length,)) if length <= 30 else b"\x1f" + as_uintvar(length)


def as_content_type(media: int | str, parameters: list[bytes]) -> bytes:
    """The content type: alone where that is possible, else with its length (8.4.2.24)."""
    general = as_value(media) + b"".join(parameters)
    if not parameters and (isinstance(media, str) or media < 0x80):
        return general
    return as_length(len(general)) + general


def as_push(transaction_id: int, head: bytes, body: bytes) -> bytes:
    """A push with these headers."""
    return bytes((transaction_id, 6)) + as_uintvar(len(head)) + head + body


integers = st.integers(0, 2**24 - 1)
raw_values = st.one_of(
    st.integers(0x80, 0xFF).map(lambda octet: bytes((octet,))),
    st.binary(max_size=10).map(lambda data: bytes((len(data),)) + data),
    st.binary(max_size=10).map(lambda data: bytes((31, len(data))) + data),
    texts.map(as_value),
)
headers = st.tuples(
    (st.integers(0, 127).filter(lambda number: number != 0x2F) | texts).map(as_value), raw_values
).map(b"".join)
parameters = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: b"\x80" + as_uintvar(number)),
    st.tuples(
        (st.integers(1, 2**16) | texts).map(as_value),
        st.just(b"\0") | (integers | texts).map(as_value),
    ).map(b"".join),
)


@st.composite
def pushes(draw: st.DrawFn) -> tuple[PushPdu, bytes]:
    """A push of any sender: what it says, and its octets."""
    media = draw(integers | texts)
    application_id = draw(st.none() | st.integers(0, 2**32) | texts)
    parts = draw(st.lists(headers, max_size=3))
    if application_id is not None:
        at = draw(st.integers(0, len(parts)))
        parts.insert(at, b"\xaf" + as_value(application_id))
    head = as_content_type(media, draw(st.lists(parameters, max_size=3))) + b"".join(parts)
    transaction_id, body = draw(st.integers(0, 255)), draw(st.binary(max_size=30))
    shown = media.lower() if isinstance(media, str) else MEDIA_TYPES.get(media)
    if shown is None:
        shown = f"number 0x{media:02X} of the WSP content types"
    push = PushPdu(transaction_id, shown, application_id, body)
    return push, as_push(transaction_id, head, body)


def test_a_known_push_decodes_to_its_parts() -> None:
    """A service indication from the field is read as what it is."""
    pdu = push_pdu.decode(read(SERVICE_INDICATION).octets)
    assert pdu.transaction_id == 0x25
    assert pdu.media_type == "application/vnd.wap.sic"
    assert pdu.application_id is None
    assert b"Come into our store to get a free pizza!!!" in pdu.body


@given(pushes())
def test_every_push_is_read_as_what_it_says(push: tuple[PushPdu, bytes]) -> None:
    """Transaction, media type, application and body are read, whatever stands beside them."""
    expected, octets = push
    assert push_pdu.decode(octets) == expected


@given(st.integers(0, 255), st.binary(max_size=30))
def test_what_we_send_is_read_as_it_was_sent(transaction_id: int, body: bytes) -> None:
    """A push of ours decodes to octets for the AOI Client, with its transaction ID and body."""
    sent = PushPdu(transaction_id, push_pdu.OCTET_STREAM, push_pdu.APPLICATION_ID, body)
    octets = push_pdu.encode(transaction_id, body)
    assert push_pdu.decode(octets) == sent
    assert octets == as_push(transaction_id, b"\xda\xaf" + as_value(0x414F), body)


@given(st.binary(max_size=200))
def test_any_octets_give_a_push_or_a_pdu_error(octets: bytes) -> None:
    """Decoding is total: random octets never raise anything but a PduError."""
    with suppress(PduError):
        push_pdu.decode(octets)


@given(
    pushes(),
    st.lists(st.tuples(st.integers(0, 139), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 200),
)
def test_mutated_pushes_give_a_push_or_a_pdu_error(
    push: tuple[PushPdu, bytes], changes: list[tuple[int, int]], cut: int
) -> None:
    """Decoding is total: changed and cut pushes never raise anything but a PduError."""
    mutated = bytearray(push[1])
    for at, value in changes:
        mutated[at % len(mutated)] = value
    with suppress(PduError):
        push_pdu.decode(bytes(mutated[:cut]))


@given(pushes())
def test_every_cut_of_a_push_is_read_within_its_bounds(push: tuple[PushPdu, bytes]) -> None:
    """A push cut anywhere before its body is malformed, never read past its end."""
    pdu, octets = push
    for cut in range(len(octets) - len(pdu.body)):
        with pytest.raises(MalformedPdu):
            push_pdu.decode(octets[:cut])


@pytest.mark.parametrize(
    "octets, error",
    [
        ("", MalformedPdu),
        ("07 06 8FFFFFFF7F DA", MalformedPdu),  # a header length of 2**32-1
        ("07 06 FFFFFFFF7F DA", MalformedPdu),  # 35 bits
        ("07 06 8080808080", MalformedPdu),  # a uintvar without end
        ("07 06 00", MalformedPdu),  # no content type
        ("07 06 01 03", MalformedPdu),  # a content type longer than the headers
        ("07 06 02 1F FF", MalformedPdu),  # its length without end
        ("07 06 03 DA AF 1E", MalformedPdu),  # an integer of 30 octets, none there
        ("07 06 05 DA AF 80 AF 81", MalformedPdu),  # two application IDs
        ("07 06 03 DA 7F 02", MalformedPdu),  # another header code page
        ("07 06 02 DA 02", MalformedPdu),  # the same, as a short cut
        ("07 06 03 DA AF 41", MalformedPdu),  # a text without its end
        ("07 06 03 02 AE 81", MalformedPdu),  # a parameter without its value
        ("07 06 04 03 AE 80 80", MalformedPdu),  # a q without its end
        ("07 06 04 03 AE 41 42", MalformedPdu),  # a parameter's name without its end
        ("07 40 01 DA", NotAPush),  # a WSP Get
    ],
)
def test_hostile_octets_fail_cleanly(octets: str, error: type[PduError]) -> None:
    """Each way to lie about lengths and forms is refused with the error that names it."""
    with pytest.raises(error):
        push_pdu.decode(bytes.fromhex(octets))


@pytest.mark.parametrize("name", ["AF", b"X-Wap-Application-Id\0".hex()])
@pytest.mark.parametrize("value, read_as", [("84", 4), ("02414F", 0x414F), ("75726E00", "urn")])
def test_the_application_id_is_a_number_or_a_text(
    name: str, value: str, read_as: int | str
) -> None:
    """Both forms of its value are read, also behind the name written out, as gateways may do."""
    head = bytes.fromhex("DA" + name + value)
    assert push_pdu.decode(as_push(7, head, b"")).application_id == read_as


@pytest.mark.parametrize(
    "octets",
    [
        "03 AE 81 EA",  # charset=utf-8
        "03 AE 81 80",  # charset=*
        "05 AE 81 02 03E8",  # charset=iso-10646-ucs-2
        "06 AE 85 61 2E 62 00",  # name=a.b
        "05 AE 78 00 79 00",  # x=y
        "04 AE 78 00 00",  # x
        "03 AE 80 0A",  # q=0.1
    ],
)
def test_parameters_of_a_content_type_are_read_over(octets: str) -> None:
    """Numbers, texts and nothing at all, behind numbers and names: the next header is found."""
    push = as_push(7, bytes.fromhex(octets + "AF 84"), b"body")
    expected = PushPdu(7, "application/vnd.wap.sic", 4, b"body")
    assert push_pdu.decode(push) == expected


def test_a_parameter_ends_with_its_content_type() -> None:
    """A content type whose length reaches beyond the headers is malformed."""
    with pytest.raises(MalformedPdu):
        push_pdu.decode(as_push(7, bytes.fromhex("08 AE 85 22 61 20 62 00"), b""))


@pytest.mark.parametrize("transaction_id", [-1, 256])
def test_a_transaction_id_is_one_octet(transaction_id: int) -> None:
    """A transaction ID that would read as something else is refused before it goes out."""
    with pytest.raises(MalformedPdu):
        push_pdu.encode(transaction_id, b"")
