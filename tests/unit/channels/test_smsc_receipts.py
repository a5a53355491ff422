"""Delivery receipts in the forms that SMSCs send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.sms.receipts import (
    MESSAGE_STATE,
    MessageState,
    SmscReceipt,
    read_receipt,
)
from aoi_events.errors import MalformedPdu


@given(
    st.integers(0, 255),
    st.binary(max_size=254),
    st.lists(
        st.tuples(st.sampled_from([0x001E, 0x0427, 0x0424, 0x1400]), st.binary(max_size=80)),
        max_size=4,
    ),
)
def test_any_deliver_sm_is_a_receipt_or_none_or_malformed(
    esm_class: int, text: bytes, tlvs: list[tuple[int, bytes]]
) -> None:
    """Any `deliver_sm` of an SMSC is a receipt, another message, or malformed."""
    try:
        receipt = read_receipt(esm_class, text, tlvs)
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
        read_receipt(0x04, text, [(MESSAGE_STATE, b"\x02")])


@pytest.mark.parametrize("esm_class, is_receipt", [(0x04, True), (0x44, True), (0x08, False)])
def test_a_receipt_is_told_by_its_type_bits(esm_class: int, is_receipt: bool) -> None:
    """Bits 5 to 2 of the octet decide; acknowledgements are no receipts."""
    text = b"id:42 sub:001 dlvrd:001 submit date:0 done date:0 stat:EXPIRED err:7"
    receipt = read_receipt(esm_class, text, [])
    assert (receipt == SmscReceipt("42", MessageState.EXPIRED, "7")) is is_receipt
