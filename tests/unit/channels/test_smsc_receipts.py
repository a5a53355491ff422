"""Delivery receipts in the forms that SMSCs send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.sms.message_states import MessageState
from aoi_events.channels.sms.pdu import Message
from aoi_events.channels.sms.receipts import (
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
    SmscReceipt,
    read_receipt,
)
from aoi_events.errors import MalformedPdu

NUMBER = "31600000001"
UNDELIVERED = b"id:1A sub:001 dlvrd:000 submit date:0 done date:0 stat:UNDELIV"
NAMED = b"id:1A sub:001 dlvrd:000 submit date:0 done date:0 err:000"
PAYLOAD = 0x0424
ERROR_CODE = 0x0423


def receipt_in(
    text: bytes = b"", esm_class: int = 0x04, optional: dict[int, bytes] | None = None
) -> SmscReceipt | None:
    """The receipt in a message from a telephone's number."""
    return read_receipt(Message(NUMBER, "AOI", esm_class, 0, text, optional or {}))


@given(
    st.integers(0, 255),
    st.binary(max_size=254),
    st.dictionaries(
        st.sampled_from([0x001E, 0x0427, 0x0424, 0x0423, 0x1400]), st.binary(max_size=80)
    ),
)
def test_any_message_is_a_receipt_or_none_or_malformed(
    esm_class: int, text: bytes, optional: dict[int, bytes]
) -> None:
    """Any message of an SMSC is a receipt, another message, or malformed."""
    try:
        receipt = receipt_in(text, esm_class, optional)
    except MalformedPdu:
        assert esm_class & 0x3C == 0x04
    else:
        assert receipt is None or 0 < len(receipt.message_id) <= 65


@pytest.mark.parametrize(
    "text", [b"id: stat:DELIVRD", b"id:sub:001 stat:DELIVRD", b"stat:DELIVRD", b""]
)
def test_a_receipt_that_names_no_message_is_malformed(text: bytes) -> None:
    """A receipt without an ID is malformed: the next field is not read as the ID."""
    with pytest.raises(MalformedPdu, match="names no message"):
        receipt_in(text, optional={MESSAGE_STATE: b"\x02"})


@pytest.mark.parametrize(
    "esm_class, is_receipt",
    [(0x04, True), (0x44, False), (0x00, True), (0x08, False), (0x20, False)],
)
def test_a_receipt_is_told_by_its_type_bits(esm_class: int, is_receipt: bool) -> None:
    """Bits 5 to 2 of the octet decide; acknowledgements and notices on the way are no receipts. A
    user data header is no part of the text.
    """
    text = b"id:42 sub:001 dlvrd:001 submit date:0 done date:0 stat:EXPIRED err:7"
    if esm_class == 0x44:
        text, is_receipt = b"\x05\x00\x03\x01\x01\x01" + text, True
    receipt = receipt_in(text, esm_class)
    assert (receipt is not None) is is_receipt
    if receipt is not None:
        assert (receipt.message_id, receipt.state) == ("42", MessageState.EXPIRED)
        assert (receipt.error, receipt.addresses) == ("7", (NUMBER, "AOI"))
        assert receipt.marked is (esm_class != 0)


@pytest.mark.parametrize(
    "text",
    [
        UNDELIVERED,
        UNDELIVERED.decode().encode("utf-16-be"),
        UNDELIVERED.decode().encode("utf-16-le"),
        UNDELIVERED.decode().encode("utf-16"),
        UNDELIVERED.upper(),
        b"id:1A,sub:001,stat:UNDELIV",
        b"id:1A;stat:UNDELIV;err:001",
        b"id=1A stat=UNDELIV",
        b"ID: 1A Stat: Undelivered",
        b"message_id:1A sub:001 message_state:UNDELIV",
        b"messageId=1A status=UNDELIV",
        b"msgid:1A,dlr_status:UNDELIV",
        b'{"id":"1A","sub":"001","stat":"UNDELIV","err":"045"}',
        b'{"text": "id:2 stat:DELIVRD", "message_id": "1A", "messageStatus": "Not delivered"}',
        b'{"messageId": "1A", "status": 5, "done date": null}\0',
        b"stat:UNDELIV id:1A\0",
        b"id:  1A  stat:  UNDELIV",
        b"id:1A|stat:UNDELIV|err:045",
        b"id:'1A' stat:'UNDELIV'",
        b"id:1A stat:DELIVERY ERROR",
        *(
            b"id:1A stat:" + word
            for word in (
                b"UNDELIVERED",
                b"UNDELIVERABLE",
                b"FAILED",
                b"SKIPPED",
                b"REJECTED",
                b"REJECTD",
                b"EXPIRED",
                b"DELETED",
                b"5",
            )
        ),
        NAMED,
        b"id:1A sub:001 err:045",
    ],
)
@pytest.mark.parametrize("esm_class", [0x04, 0x00])
@pytest.mark.parametrize("where", ["short message", "payload"])
def test_not_delivered_is_read_in_every_form(text: bytes, esm_class: int, where: str) -> None:
    """Words, separators, encodings, a text without a state, in either place, marked or not."""
    optional = {PAYLOAD: text} if where == "payload" else {}
    receipt = receipt_in(b"" if optional else text, esm_class, optional)
    if esm_class == 0 and b"stat" not in text.lower().replace(b"\0", b""):
        assert receipt is None  # without its mark or a state it may be anything
        return
    assert receipt is not None
    assert receipt.message_id == "1A"
    assert receipt.state.failed


@pytest.mark.parametrize(
    "optional, failed",
    [
        ({MESSAGE_STATE: b"\x02"}, False),
        ({MESSAGE_STATE: b"\x05"}, True),
        ({MESSAGE_STATE: b"\x08"}, True),
        ({MESSAGE_STATE: b"\x09"}, True),
        ({MESSAGE_STATE: b"\x63"}, False),
        ({ERROR_CODE: b"\x03\x00\x1b"}, True),
    ],
)
@pytest.mark.parametrize("esm_class", [0x04, 0x00])
def test_parameters_are_a_receipt_with_or_without_the_mark(
    optional: dict[int, bytes], failed: bool, esm_class: int
) -> None:
    """The parameters are enough: a telephone cannot write them."""
    receipt = receipt_in(b"", esm_class, {RECEIPTED_MESSAGE_ID: b"1A\0", **optional})
    assert receipt is not None
    assert (receipt.message_id, receipt.state.failed, receipt.marked) == ("1A", failed, True)


@pytest.mark.parametrize(
    "text, state, meaning",
    [
        (b"id:1A stat:UNDELIV", b"\x02", MessageState.UNDELIVERABLE),
        (b"id:1A stat:DELIVRD", b"\x05", MessageState.UNDELIVERABLE),
        (b"id:1A stat:DELIVRD", b"\x01", MessageState.DELIVERED),
        (b"id:1A stat:ENROUTE", b"\x02", MessageState.DELIVERED),
        (b"id:1A stat:NONSENSE", b"\x02", MessageState.UNKNOWN),
        (b"id:1A stat:UNKNOWN", b"\x01", MessageState.UNKNOWN),
        (b"id:1A stat:CANCELLED", b"\x06", MessageState.UNDELIVERABLE),
        (b"id:1A stat:NOT_DELIVERED", b"\x02", MessageState.UNDELIVERABLE),
        (b"id:1A stat:GREEN dlvrd:000 err:012", b"\x02", MessageState.UNDELIVERABLE),
        (b"id:1A stat:GREEN err:012", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:000 stat:DELIVRD err:012", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:000 stat:DELIVRD err:000", b"", MessageState.DELIVERED),
        (b"id:1A dlvrd:001 stat:DELIVRD err:012", b"", MessageState.DELIVERED),
        (b"id:1A dlvrd:000 stat:ENROUTE err:012", b"", MessageState.ENROUTE),
        (b"id:1A dlvrd:001 state:UNDELIV", b"", MessageState.UNDELIVERABLE),
        (b"id:1A stat:DELIVRD state:FAILED", b"", MessageState.UNDELIVERABLE),
        (b"id:1A stat: status:DELIVRD", b"", MessageState.DELIVERED),
        (b"id:1A stat: err:000", b"\x02", MessageState.DELIVERED),
        (b"id:1A dlvrd:000 stat: err:000", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:001 stat:UNDELIV: err:000", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:001 stat:UNDELIV:err:000", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:001 stat:DELIVRD:err:000", b"", MessageState.DELIVERED),
        (b"id:1A stat:UNDELIV:5 err:000", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:001 stat:err:000", b"", MessageState.UNKNOWN),
        (b"id:1A stat:NONSENSE", b"", MessageState.UNKNOWN),
        (b"id:1A dlvrd:001 err:000", b"", MessageState.DELIVERED),
        (b"id:1A", b"", MessageState.UNKNOWN),
        (b"id:1A stat:DELIVRD text:stat:UNDELIV id:2", b"", MessageState.DELIVERED),
        (b"id:1A dlvrd:001 err:  045", b"", MessageState.UNDELIVERABLE),
        (b"id:1A dlvrd:001 stat:", b"", MessageState.UNKNOWN),
        (b"id:1A dlvrd:001 stat:\xb2", b"", MessageState.UNKNOWN),
        (b"id:1A dlvrd:001 stat: err:000", b"", MessageState.UNKNOWN),
    ],
)
def test_of_two_states_not_delivered_counts(
    text: bytes, state: bytes, meaning: MessageState
) -> None:
    """Failed before what is not understood, that before delivered, and this before what is not
    final; nothing is read in our text. Count and error together refute *delivered*.
    """
    receipt = receipt_in(text, optional={MESSAGE_STATE: state})
    assert receipt is not None
    assert (receipt.message_id, receipt.state) == ("1A", meaning)


@pytest.mark.parametrize(
    "form", ["stat:{}", "stat:  {}", 'stat:"{}"', "status:{}", "state:{}", "Status = '{}'"]
)
@pytest.mark.parametrize(
    "word, meaning",
    [
        *(
            (word, MessageState.DELIVERED)
            for word in (
                "DELIVRD",
                "DELIVERED",
                "Deliverd",
                "DELIVRD.",
                "2",
                "DELIVERED_TO_HANDSET",
                "DeliveredToTerminal",
                "SUCCESS",
                "SUCCESSFULL",
                "DLVRD",
                "DELVRD",
                "DELIVRED",
                "DELIVERY_SUCCESS",
                "SUCCESSFULLY_DELIVERED",
                "DELIVERED_SUCCESSFULLY",
                "MESSAGE_DELIVERED",
            )
        ),
        *(
            (word, MessageState.ENROUTE)
            for word in (
                "SENT",
                "SUBMITTED",
                "SUBMITD",
                "PENDING",
                "QUEUED",
                "IN_TRANSIT",
                "BUFFERED",
                "DELAYED",
                "DEFERRED",
                "TRANSFERRED",
                "DELIVEREDTONETWORK",
                "DELIVERED_TO_NETWORK",
                "DELIVERED-TO-SMSC",
                "ENROUTE",
                "EN_ROUTE",
                "BUFFRED",
                "DELIVERY_PENDING",
                "PENDING_WAITING_DELIVERY",
                "PENDING_ENROUTE",
                "MESSAGE_WAITING",
                "SENDING",
                "DISPATCHED",
                "FORWARDED",
            )
        ),
        *((word, MessageState.ACCEPTED) for word in ("ACCEPTD", "ACCEPTED")),
        *((word, MessageState.DELETED) for word in ("DELETED", "DELETE")),
        *((word, MessageState.EXPIRED) for word in ("EXPIRED", "EXPIRD", "EXPIRED_DLR_UNKNOWN")),
        *((word, MessageState.REJECTED) for word in ("REJECTD", "REJECTED", "REJECTED_NETWORK")),
        *((word, MessageState.SKIPPED) for word in ("SKIPPED", "SKIPD")),
        *(
            (word, MessageState.UNDELIVERABLE)
            for word in (
                "UNDELIV",
                "UNDLV",
                "UNDELIVRD",
                "UNDELIVERABLE_NOT_DELIVERED",
                "PERMANENTLY_FAILED",
                "ABSENT_SUBSCRIBER",
                "NOCRED",
                "SYSERR",
                "BARRED",
                "DELIVERY_FAILED",
                "DELIVERYFAILED",
                "DELIVERYIMPOSSIBLE",
                "SUBMIT_FAILED",
                "QUEUE_FULL",
                "ACCESSDENIED",
                "ACCOUNTBLOCKED",
                "NOT_DELIVERED",
                "NOTDELIV",
                "ERROR",
                "NACK",
                "CANCELLED",
            )
        ),
        *(
            (word, MessageState.UNKNOWN)
            for word in ("DELIVERYUNCERTAIN", "SUCCESSFULLY_SUBMITTED", "UNKNOWN", "GREEN", "D")
        ),
    ],
)
def test_a_state_is_read_by_its_whole_word(form: str, word: str, meaning: MessageState) -> None:
    """A word that only begins like a good state is no good news, and the count makes it none."""
    receipt = receipt_in(f"id:1A dlvrd:001 {form.format(word)} err:000".encode())
    assert receipt is not None
    assert (receipt.message_id, receipt.state) == ("1A", meaning)


@pytest.mark.parametrize(
    "status, meaning",
    [
        ("Delivered to network", MessageState.ENROUTE),
        ("Delivered to the handset", MessageState.DELIVERED),
        ("Delivered", MessageState.DELIVERED),
        ("Delivered successfully", MessageState.DELIVERED),
        ("Message delivered", MessageState.DELIVERED),
        ("Message undelivered", MessageState.UNDELIVERABLE),
        ("Delivery pending", MessageState.ENROUTE),
        ("Message waiting", MessageState.ENROUTE),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        '{{"id": "1A", "status": "{}"}}',
        "stat:{} id:1A",
        "id:1A stat:{} err:000",
        "id:1A stat:{}|err:000",
        "id:1A stat:{} done date:0",
    ],
)
def test_a_state_of_several_words_is_read_whole(
    form: str, status: str, meaning: MessageState
) -> None:
    """Its first word alone may say more than the SMSC knows."""
    receipt = receipt_in(form.format(status).encode())
    assert receipt is not None
    assert (receipt.message_id, receipt.state) == ("1A", meaning)


def test_null_in_json_is_no_error_code() -> None:
    """A receipt that has a count and no error is not turned into a failure by the word."""
    receipt = receipt_in(b'{"id": "1A", "dlvrd": "001", "err": null}')
    assert receipt is not None
    assert (receipt.state, receipt.error) == (MessageState.DELIVERED, "")
    receipt = receipt_in(b'{"id": "1A", "dlvrd": "001", "stat": null}')
    assert receipt is not None
    assert receipt.state is MessageState.UNKNOWN


def test_both_ids_of_a_receipt_are_kept() -> None:
    """Parameter and text may spell one ID in two ways."""
    optional = {RECEIPTED_MESSAGE_ID: b"00B8BE12\0", MESSAGE_STATE: b"\x05"}
    receipt = receipt_in(b"id:12107282 stat:UNDELIV", optional=optional)
    assert receipt is not None
    assert (receipt.message_id, receipt.text_id) == ("00B8BE12", "12107282")


@pytest.mark.parametrize("source", ["9" * 21, "9" * 60_000])
def test_an_address_that_is_too_long_for_one_is_not_kept(source: str) -> None:
    """No telephone number is so long, and 10,000 receipts may wait in memory."""
    receipt = read_receipt(Message(source, "9" * 20, 0x04, 0, UNDELIVERED, {}))
    assert receipt is not None
    assert receipt.addresses == ("9" * 20,)
