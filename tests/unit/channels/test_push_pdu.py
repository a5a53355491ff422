"""The codec of a connectionless push and of what we put inside; vectors confirmed by tshark."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.identifiers import base32_id
from aoi_events.domain import push_payload, push_pdu
from aoi_events.domain.push_payload import ChallengePush, ContentPush, Payload, WakeUpPush
from aoi_events.domain.push_pdu import ContentType, Header, PushPdu
from aoi_events.errors import MalformedPdu, NotAPush, PduError, PduTooLarge, SegmentedPush

UDH = bytes.fromhex("0605040B8423F0")
DELIVERY = base32_id("dlv_", bytes(range(16)))
FINGERPRINT = base32_id("fp_", bytes(range(8)))

# A service indication as a commercial gateway sends it.
SERVICE_INDICATION = bytes.fromhex(
    "0605040B8423F025060403AE81EA01056A0045C60C03752E736D73702E67722F643565676E6200080103"
    "436F6D6520696E746F206F75722073746F726520746F20676574206120667265652070697A7A61212121000101"
)

# Our own pushes. Each was put into a submit_sm (esm_class 0x40) and decoded by tshark 4.0.17 with
# `-o gsm_sms_ud.port_number_udh_means_wsp:TRUE`: ports 2948 and 9200, transaction 7, Push,
# application/octet-stream, X-Wap-Application-Id, and exactly our body as data. (tshark labels a
# number above 127 by its length octet; it shows short ones, such as AF 84, by their value.)
CONFIRMED: list[tuple[Payload, str]] = [
    (
        ContentPush(DELIVERY, FINGERPRINT, Content(data="Gate B12")),
        (
            "0605040b8423f0070605daaf02414f"
            "11000102030405060708090a0b0c0d0e0f0001020304050607014761746520423132"
        ),
    ),
    (
        WakeUpPush(DELIVERY, FINGERPRINT),
        "0605040b8423f0070605daaf02414f12000102030405060708090a0b0c0d0e0f0001020304050607",
    ),
    (ChallengePush("K7QM-2XPD"), "0605040b8423f0070605daaf02414f134b37514d2d32585044"),
]

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
raw_values = st.one_of(
    st.integers(0x80, 0xFF).map(lambda octet: bytes((octet,))),
    st.binary(max_size=10).map(lambda data: bytes((len(data),)) + data),
    st.binary(max_size=10).map(lambda data: bytes((31, len(data))) + data),
    texts.map(lambda text: text.encode() + b"\0"),
)
header_names = st.integers(0, 127).filter(lambda number: number != 0x2F) | texts
content_types = st.builds(ContentType, st.integers(0, 2**24 - 1) | texts, st.binary(max_size=8))
push_pdus = st.builds(
    PushPdu,
    st.integers(0, 255),
    content_types,
    st.none() | st.integers(0, 2**32) | texts,
    st.lists(st.builds(Header, header_names, raw_values), max_size=2).map(tuple),
    st.binary(max_size=30),
)
names = (
    st.binary(min_size=16, max_size=16).map(lambda octets: base32_id("dlv_", octets)),
    st.binary(min_size=8, max_size=8).map(lambda octets: base32_id("fp_", octets)),
)
media_types = st.sampled_from(["text/plain", "application/json", "application/vnd.example.score"])
contents = st.one_of(
    st.builds(lambda data, media: Content(data=data, type=media), texts, media_types),
    st.builds(Content.of, st.binary(max_size=40), media_types),
)
payloads = st.one_of(
    st.builds(ContentPush, *names, contents),
    st.builds(WakeUpPush, *names),
    st.text("ABCDEFGHJKLMNPQRSTUVWXYZ23456789-", min_size=1, max_size=32).map(ChallengePush),
)


def _decodes_or_says_why(octets: bytes) -> None:
    for decode in (push_pdu.decode, push_payload.decode):
        with suppress(PduError):
            decode(octets)


def test_a_known_push_decodes_to_its_parts() -> None:
    """A service indication from the field is read as what it is."""
    pdu = push_pdu.decode(SERVICE_INDICATION)
    assert pdu.transaction_id == 0x25
    assert pdu.content_type == ContentType(0x2E, bytes.fromhex("81EA"))  # vnd.wap.sic, UTF-8
    assert pdu.application_id is None
    assert pdu.headers == ()
    assert b"Come into our store to get a free pizza!!!" in pdu.body


def test_a_known_push_is_encoded_to_the_same_octets() -> None:
    """The parts of a service indication from the field give its octets again."""
    assert push_pdu.encode(push_pdu.decode(SERVICE_INDICATION)) == SERVICE_INDICATION


@pytest.mark.parametrize("payload, octets", CONFIRMED)
def test_our_pushes_are_the_octets_that_tshark_confirmed(payload: Payload, octets: str) -> None:
    """Each kind of payload encodes to the confirmed octets and decodes from them."""
    assert push_payload.encode(payload, transaction_id=7) == bytes.fromhex(octets)
    assert push_payload.decode(bytes.fromhex(octets)) == payload


@given(push_pdus)
def test_every_push_that_can_be_encoded_round_trips(pdu: PushPdu) -> None:
    """What was encoded decodes to the same parts and encodes to the same octets."""
    octets = push_pdu.encode(pdu)
    assert len(octets) <= push_pdu.LARGEST_USER_DATA
    assert push_pdu.decode(octets) == pdu
    assert push_pdu.encode(push_pdu.decode(octets)) == octets


@given(payloads, st.integers(0, 255))
def test_every_payload_round_trips(payload: Payload, transaction_id: int) -> None:
    """Content, wake-ups and challenges arrive as they were sent."""
    octets = push_payload.encode(payload, transaction_id=transaction_id)
    assert push_payload.decode(octets) == payload
    assert push_pdu.decode(octets).transaction_id == transaction_id


@given(st.binary(max_size=160) | st.binary(max_size=133).map(lambda pdu: UDH + pdu))
def test_any_octets_give_a_push_or_a_pdu_error(octets: bytes) -> None:
    """Decoding is total: random octets never raise anything but a PduError."""
    _decodes_or_says_why(octets)


@given(
    st.sampled_from([SERVICE_INDICATION, *(bytes.fromhex(octets) for _, octets in CONFIRMED)]),
    st.lists(st.tuples(st.integers(0, 139), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 140),
)
def test_mutated_pushes_give_a_push_or_a_pdu_error(
    octets: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    """Decoding is total: changed and cut pushes never raise anything but a PduError."""
    mutated = bytearray(octets)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    _decodes_or_says_why(bytes(mutated[:cut]))


@given(push_pdus)
def test_every_cut_of_a_push_is_read_within_its_bounds(pdu: PushPdu) -> None:
    """A push cut anywhere before its body is malformed or no push, never read past its end."""
    octets = push_pdu.encode(pdu)
    for cut in range(len(octets) - len(pdu.body)):
        with pytest.raises((MalformedPdu, NotAPush)):
            push_pdu.decode(octets[:cut])


@pytest.mark.parametrize(
    "octets, error",
    [
        ("", MalformedPdu),
        ("0605040B8423F0 07 06 8FFFFFFF7F DA", MalformedPdu),  # a header length of 2**32-1
        ("0605040B8423F0 07 06 FFFFFFFF7F DA", MalformedPdu),  # 35 bits
        ("0605040B8423F0 07 06 8080808080", MalformedPdu),  # a uintvar without end
        ("0605040B8423F0 07 06 00", MalformedPdu),  # no content type
        ("0605040B8423F0 07 06 01 03", MalformedPdu),  # a content type longer than the headers
        ("0605040B8423F0 07 06 02 1F FF", MalformedPdu),  # its length without end
        ("0605040B8423F0 07 06 03 DA AF 1E", MalformedPdu),  # an integer of 30 octets, none there
        ("0605040B8423F0 07 06 05 DA AF 80 AF 81", MalformedPdu),  # two application IDs
        ("0605040B8423F0 07 06 03 DA 7F 02", MalformedPdu),  # another header code page
        ("0605040B8423F0 07 06 03 DA AF 41", MalformedPdu),  # a text without its end
        ("0605040B8423F0 07 40 01 DA", NotAPush),  # a WSP Get
        ("0605040B8523F0 07 06 01 DA", NotAPush),  # to port 2949
        ("03 04 05 01 07 06 01 DA", MalformedPdu),  # an element longer than the header
        ("04 05 02 0B84 07 06 01 DA", MalformedPdu),  # a port element that is too short
        ("00 07 06 01 DA", NotAPush),  # no port at all
        ("0B 0003010201 05040B8423F0 07 06 01 DA", SegmentedPush),
        ("0C 05040B8423F0 080400010201 07 06 01 DA", SegmentedPush),
    ],
)
def test_hostile_octets_fail_cleanly(octets: str, error: type[PduError]) -> None:
    """Each way to lie about lengths, forms and ports is refused with the error that names it."""
    with pytest.raises(error):
        push_pdu.decode(bytes.fromhex(octets))


def test_unknown_elements_beside_the_ports_are_ignored() -> None:
    """A user data header may hold elements that mean nothing to a push (23.040, 9.2.3.24)."""
    octets = bytes.fromhex("0A 7002AABB 05040B8423F0 07 06 01 DA 01")
    assert push_pdu.decode(octets).body == b"\x01"


@pytest.mark.parametrize("size", [99, 100])
def test_one_message_holds_the_largest_content_and_no_more(size: int) -> None:
    """The stated limit is exact: 140 octets of user data, 133 of PDU, 99 of content."""
    assert push_pdu.LARGEST_PDU == 133
    assert push_payload.LARGEST_CONTENT == 99
    content = Content(data="x" * size)
    push = ContentPush(DELIVERY, FINGERPRINT, content)
    assert push_payload.room_for(content) == size
    if size <= push_payload.LARGEST_CONTENT:
        assert len(push_payload.encode(push, transaction_id=0)) == push_pdu.LARGEST_USER_DATA
    else:
        with pytest.raises(PduTooLarge):
            push_payload.encode(push, transaction_id=0)


@given(st.integers(0, 120), st.text("abcdefgh/", min_size=1, max_size=100))
def test_the_room_says_exactly_what_can_be_encoded(size: int, media: str) -> None:
    """A media type that takes room of its own is counted: the limit and `encode` always agree."""
    content = Content(data="x" * size, type=media)
    fits = push_payload.room_for(content) <= push_payload.LARGEST_CONTENT
    try:
        push_payload.encode(ContentPush(DELIVERY, FINGERPRINT, content), transaction_id=0)
    except PduTooLarge:
        assert not fits
    else:
        assert fits


def test_what_a_sender_encrypted_takes_a_wake_up() -> None:
    """A short message has no place for how it was encrypted, and the device cannot guess."""
    content = Content(
        data="AA==", encoding="base64", encryption=ContentEncryption(coding="aes128gcm")
    )
    assert push_payload.room_for(content) > push_payload.LARGEST_CONTENT
    with pytest.raises(PduTooLarge):
        push_payload.encode(ContentPush(DELIVERY, FINGERPRINT, content), transaction_id=0)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "22" + "00" * 24,  # version 2
        "14",  # an unknown kind
        "12" + "00" * 23,  # a wake-up that is cut
        "12" + "00" * 25,  # and one that goes on
        "11" + "00" * 24,  # content without its form
        "11" + "00" * 24 + "04",  # an unknown media type
        "11" + "00" * 24 + "0000",  # an empty media type
        "11" + "00" * 24 + "0005" + "41",  # a media type that is cut
        "11" + "00" * 24 + "01FF",  # text that is not UTF-8
        "13",  # a challenge without a code
        "13" + "41" * 33,  # one that is too long
        "1341FF",  # one that is not ASCII
    ],
)
def test_a_body_that_is_none_of_ours_is_malformed(body: str) -> None:
    """Bodies of another version, kind, length or encoding are refused as malformed."""
    pdu = PushPdu(7, ContentType(0x5A), push_payload.APPLICATION_ID, (), bytes.fromhex(body))
    with pytest.raises(MalformedPdu):
        push_payload.decode(push_pdu.encode(pdu))


@pytest.mark.parametrize("application_id", [None, 2, "x-wap-application:wml.ua"])
def test_a_push_to_another_application_is_not_ours(application_id: int | str | None) -> None:
    """The device leaves pushes to other applications alone."""
    pdu = PushPdu(7, ContentType(0x5A), application_id, (), b"\x13A")
    with pytest.raises(NotAPush):
        push_payload.decode(push_pdu.encode(pdu))


@pytest.mark.parametrize(
    "payload",
    [
        WakeUpPush("dlv_short", FINGERPRINT),
        WakeUpPush(DELIVERY, "fp_" + "0" * 13),
        WakeUpPush(DELIVERY.upper(), FINGERPRINT),
        ChallengePush(""),
        ChallengePush("two words"),
        ChallengePush("é"),
    ],
)
def test_parts_of_another_shape_are_not_encoded(payload: Payload) -> None:
    """IDs and codes that the contracts would not let through are not put on the air."""
    with pytest.raises(MalformedPdu):
        push_payload.encode(payload, transaction_id=0)


def test_a_challenge_code_is_not_shown() -> None:
    """A challenge code is a secret, also in a log line or a traceback."""
    assert "K7QM" not in repr(ChallengePush("K7QM-2XPD"))
