"""What we put inside a push: content, wake-ups and challenges, in one short message or several."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.identifiers import base32_id
from aoi_events.errors import MalformedPdu, NotAPush, PduError, PduTooLarge
from aoi_events.oma_push import pdu as push_pdu
from aoi_events.oma_push.datagrams import (
    LARGEST_USER_DATA,
    MOST_SEGMENTS,
    Bits,
    Reference,
    read,
)
from aoi_events.oma_push.payload import (
    ChallengePush,
    ContentPush,
    Payload,
    WakeUpPush,
    decode,
    encode,
    largest_content,
    messages_for,
    room_for,
)
from tests.support.pushes import payload_of, payloads_of

DELIVERY = base32_id("dlv_", bytes(range(16)))
FINGERPRINT = base32_id("fp_", bytes(range(8)))
OURS = bytes.fromhex("AF02414F")  # X-Wap-Application-Id of the AOI Client

names = (
    st.binary(min_size=16, max_size=16).map(lambda octets: base32_id("dlv_", octets)),
    st.binary(min_size=8, max_size=8).map(lambda octets: base32_id("fp_", octets)),
)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
media_types = st.sampled_from(["text/plain", "application/json", "application/vnd.example.score"])
contents = st.one_of(
    st.builds(lambda data, media: Content(data=data, type=media), printable, media_types),
    st.builds(Content.of, st.binary(max_size=40), media_types),
)
payloads = st.one_of(
    st.builds(ContentPush, *names, contents),
    st.builds(WakeUpPush, *names),
    st.text("ABCDEFGHJKLMNPQRSTUVWXYZ23456789-", min_size=1, max_size=32).map(ChallengePush),
)
references = st.one_of(
    st.builds(Reference, st.just(8), st.integers(0, 2**8 - 1)),
    st.builds(Reference, st.just(16), st.integers(0, 2**16 - 1)),
)


@given(payloads, st.integers(0, 255))
def test_every_payload_round_trips(payload: Payload, transaction_id: int) -> None:
    """Content, wake-ups and challenges arrive as they were sent."""
    [octets] = encode(payload, transaction_id=transaction_id)
    assert len(octets) <= LARGEST_USER_DATA
    datagram = read(octets).octets
    assert decode(datagram) == payload
    assert push_pdu.decode(datagram).transaction_id == transaction_id


@given(st.integers(0, 2_100), media_types, references, st.integers(1, MOST_SEGMENTS), st.data())
def test_content_of_every_size_round_trips_in_any_order(
    size: int, media: str, reference: Reference, most: int, data: st.DataObject
) -> None:
    """A push takes as many messages as calculated; beyond the limit it is refused, and both
    agree exactly.
    """
    content = Content(data="".join(chr(97 + index % 26) for index in range(size)), type=media)
    push = ContentPush(DELIVERY, FINGERPRINT, content)
    if room_for(content) > largest_content(most, reference.bits):
        with pytest.raises(PduTooLarge):
            encode(push, transaction_id=3, most=most, reference=reference)
        return
    messages = encode(push, transaction_id=3, most=most, reference=reference)
    assert len(messages) == messages_for(content, reference.bits) <= most
    assert payload_of(*data.draw(st.permutations(messages))) == push


@given(st.binary(max_size=160))
def test_any_octets_give_a_payload_or_a_pdu_error(octets: bytes) -> None:
    """Decoding is total: random octets never raise anything but a PduError."""
    head = bytes.fromhex("07 06 05 DA AF 02 414F 14")
    for pdu in (octets, head + octets):
        with suppress(PduError):
            decode(pdu)


@pytest.mark.parametrize(
    "most, bits, octets", [(1, 8, 99), (1, 16, 99), (2, 16, 216), (4, 8, 474), (4, 16, 470)]
)
def test_the_limits_are_those_of_the_documentation(most: int, bits: Bits, octets: int) -> None:
    """99 octets of content in one message, 470 in four with a 16-bit reference."""
    assert largest_content(most, bits) == octets
    push = ContentPush(DELIVERY, FINGERPRINT, Content(data="x" * octets))
    messages = encode(push, transaction_id=0, most=most, reference=Reference(bits, 1))
    assert [len(message) for message in messages] == [LARGEST_USER_DATA] * most


@pytest.mark.parametrize("order", ["ABBA", "BAAB"])
def test_parts_of_two_pushes_are_never_shown_as_one(order: str) -> None:
    """With one reference, and crossed on the way: what mixes them is refused by its check."""
    waiting = {
        letter: list(
            encode(
                ContentPush(DELIVERY, FINGERPRINT, Content(data=letter * 200)),
                transaction_id=1,
                most=2,
                reference=Reference(8, 1),
            )
        )
        for letter in "AB"
    }
    crossed = [waiting[letter].pop(0) for letter in order]
    with pytest.raises(MalformedPdu, match="parts are of different pushes"):
        payloads_of(("AOI", octets) for octets in crossed)


def test_what_a_sender_encrypted_takes_a_wake_up() -> None:
    """A short message has no place for how it was encrypted, and the device cannot guess."""
    content = Content(
        data="AA==", encoding="base64", encryption=ContentEncryption(coding="aes128gcm")
    )
    assert room_for(content) > largest_content(MOST_SEGMENTS, 8)
    with pytest.raises(PduTooLarge):
        encode(ContentPush(DELIVERY, FINGERPRINT, content), transaction_id=0, most=4)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "22" + "00" * 24,  # version 2
        "15",  # an unknown kind
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
        "14" + "00" * 3,  # a check that is cut
        "14" + "00" * 4 + "00" * 24 + "0141",  # a check that is wrong
    ],
)
def test_a_body_that_is_none_of_ours_is_malformed(body: str) -> None:
    """Bodies of another version, kind, length or encoding are refused as malformed."""
    with pytest.raises(MalformedPdu):
        decode(push_pdu.encode(7, bytes.fromhex(body)))


def challenge(content_type: bytes, application_id: bytes) -> bytes:
    """The push of a challenge with these headers."""
    head = content_type + application_id
    return bytes((7, 6, len(head))) + head + b"\x13A"


@pytest.mark.parametrize("application_id", [b"", b"\xaf\x82", b"\xafx-wap-application:wml.ua\0"])
def test_a_push_to_another_application_is_not_ours(application_id: bytes) -> None:
    """The device ignores pushes to other applications, with an error that names their type."""
    with pytest.raises(NotAPush, match=r"application/vnd\.wap\.sic"):
        decode(challenge(b"\xae", application_id))


@pytest.mark.parametrize(
    "media", [b"\xda", b"application/octet-stream\0", b"Application/Octet-Stream\0"]
)
def test_a_gateway_may_write_our_content_type_as_text(media: bytes) -> None:
    """The number and the text mean the same."""
    assert decode(challenge(media, OURS)) == ChallengePush("A")


def test_another_content_type_is_malformed() -> None:
    """For our application, but not what we send."""
    with pytest.raises(MalformedPdu, match="text/html"):
        decode(challenge(b"text/html\0", OURS))


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
        encode(payload, transaction_id=0)


def test_a_challenge_code_is_not_shown() -> None:
    """A challenge code is a secret, also in a log line or a traceback."""
    assert "K7QM" not in repr(ChallengePush("K7QM-2XPD"))
