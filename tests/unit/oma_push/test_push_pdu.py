"""The codec of the WSP Push PDU."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.errors import MalformedPdu, NotAPush, PduError
from aoi_events.oma_push import pdu as push_pdu
from aoi_events.oma_push.content_type import ContentType, Parameter
from aoi_events.oma_push.datagrams import read
from aoi_events.oma_push.pdu import PushPdu
from aoi_events.oma_push.wsp import Header

# A service indication as a commercial gateway sends it.
SERVICE_INDICATION = bytes.fromhex(
    "0605040B8423F025060403AE81EA01056A0045C60C03752E736D73702E67722F643565676E6200080103"
    "436F6D6520696E746F206F75722073746F726520746F20676574206120667265652070697A7A61212121000101"
)

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
integers = st.integers(0, 2**24 - 1)
raw_values = st.one_of(
    st.integers(0x80, 0xFF).map(lambda octet: bytes((octet,))),
    st.binary(max_size=10).map(lambda data: bytes((len(data),)) + data),
    st.binary(max_size=10).map(lambda data: bytes((31, len(data))) + data),
    texts.map(lambda text: text.encode() + b"\0"),
)
header_names = st.integers(0, 127).filter(lambda number: number != 0x2F) | texts
parameters = st.one_of(
    st.builds(Parameter, st.just(0), st.integers(0, 2**32 - 1)),
    st.builds(Parameter, st.integers(1, 2**16) | texts, st.none() | integers | texts),
)
content_types = st.builds(
    ContentType, integers | texts, st.lists(parameters, max_size=3).map(tuple)
)
push_pdus = st.builds(
    PushPdu,
    st.integers(0, 255),
    content_types,
    st.none() | st.integers(0, 2**32) | texts,
    st.lists(st.builds(Header, header_names, raw_values), max_size=3).map(tuple),
    st.binary(max_size=30),
)


def test_a_known_push_decodes_to_its_parts() -> None:
    """A service indication from the field is read as what it is."""
    pdu = push_pdu.decode(read(SERVICE_INDICATION).octets)
    assert pdu.transaction_id == 0x25
    assert pdu.content_type == ContentType(0x2E, (Parameter(1, 106),))  # charset is UTF-8
    assert pdu.content_type.media_type == "application/vnd.wap.sic"
    assert pdu.application_id is None
    assert pdu.headers == ()
    assert b"Come into our store to get a free pizza!!!" in pdu.body


def test_a_known_push_is_encoded_to_the_same_octets() -> None:
    """The parts of a service indication from the field give its octets again."""
    octets = read(SERVICE_INDICATION).octets
    assert push_pdu.encode(push_pdu.decode(octets)) == octets


@given(push_pdus)
def test_every_push_that_can_be_encoded_round_trips(pdu: PushPdu) -> None:
    """What was encoded decodes to the same parts and encodes to the same octets."""
    octets = push_pdu.encode(pdu)
    assert push_pdu.decode(octets) == pdu
    assert push_pdu.encode(push_pdu.decode(octets)) == octets


@given(st.binary(max_size=200))
def test_any_octets_give_a_push_or_a_pdu_error(octets: bytes) -> None:
    """Decoding is total: random octets never raise anything but a PduError."""
    with suppress(PduError):
        push_pdu.decode(octets)


@given(
    push_pdus,
    st.lists(st.tuples(st.integers(0, 139), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 200),
)
def test_mutated_pushes_give_a_push_or_a_pdu_error(
    pdu: PushPdu, changes: list[tuple[int, int]], cut: int
) -> None:
    """Decoding is total: changed and cut pushes never raise anything but a PduError."""
    mutated = bytearray(push_pdu.encode(pdu))
    for at, value in changes:
        mutated[at % len(mutated)] = value
    with suppress(PduError):
        push_pdu.decode(bytes(mutated[:cut]))


@given(push_pdus)
def test_every_cut_of_a_push_is_read_within_its_bounds(pdu: PushPdu) -> None:
    """A push cut anywhere before its body is malformed, never read past its end."""
    octets = push_pdu.encode(pdu)
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
    pdu = push_pdu.decode(bytes((7, 6, len(head))) + head)
    assert (pdu.application_id, pdu.headers) == (read_as, ())


@pytest.mark.parametrize(
    "octets, parameters",
    [
        ("03 AE 81 EA", (Parameter(1, 106),)),  # charset=utf-8
        ("03 AE 81 80", (Parameter(1, 0),)),  # charset=*
        ("05 AE 81 02 03E8", (Parameter(1, 1000),)),  # charset=iso-10646-ucs-2
        ("06 AE 85 61 2E 62 00", (Parameter(5, "a.b"),)),  # name=a.b
        ("08 AE 85 22 61 20 62 00 ", None),  # longer than what follows
        ("05 AE 78 00 79 00", (Parameter("x", "y"),)),  # x=y
        ("04 AE 78 00 00", (Parameter("x", None),)),  # x
        ("03 AE 80 0A", (Parameter(0, 10),)),  # q=0.1
    ],
)
def test_parameters_of_a_content_type_are_read(
    octets: str, parameters: tuple[Parameter, ...] | None
) -> None:
    """Numbers, texts and nothing at all, behind numbers and names."""
    head = bytes.fromhex(octets)
    push = bytes((7, 6, len(head))) + head
    if parameters is None:
        with pytest.raises(MalformedPdu):
            push_pdu.decode(push)
    else:
        assert push_pdu.decode(push).content_type == ContentType(0x2E, parameters)


@pytest.mark.parametrize(
    "pdu",
    [
        PushPdu(256, ContentType(0x5A), None, (), b""),
        PushPdu(-1, ContentType(0x5A), None, (), b""),
        PushPdu(1, ContentType(""), None, (), b""),
        PushPdu(1, ContentType("text/plain\0"), None, (), b""),
        PushPdu(1, ContentType(-1), None, (), b""),
        PushPdu(1, ContentType(1, (Parameter(0, "half"),)), None, (), b""),
        PushPdu(1, ContentType(0x5A), 2**300, (), b""),
        PushPdu(1, ContentType(0x5A), None, (Header(0x2F, b"\x84"),), b""),
        PushPdu(1, ContentType(0x5A), None, (Header("X-WAP-Application-ID", b"\x84"),), b""),
        PushPdu(1, ContentType(0x5A), None, (Header(128, b"\x84"),), b""),
        PushPdu(1, ContentType(0x5A), None, (Header(1, b"\x84\x84"),), b""),
    ],
)
def test_what_wsp_cannot_express_is_not_encoded(pdu: PushPdu) -> None:
    """A part that would read as something else is refused before it goes out."""
    with pytest.raises(MalformedPdu):
        push_pdu.encode(pdu)
