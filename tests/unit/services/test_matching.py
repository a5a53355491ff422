"""The message that a receipt is about, when its ID is spelled in another way than in the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.sms.message_states import MessageState
from aoi_events.channels.sms.receipt_outcomes import named, outcome_of
from aoi_events.channels.sms.receipts import SmscReceipt
from aoi_events.channels.sms.spelling import ReceiptIds, compared_digits
from aoi_events.ports.channel import Receipt
from aoi_events.ports.store import ProviderMessage
from aoi_events.services.channel.matching import Found, Match, by_folded_name, match
from tests.support.rows import a_provider_message, delivery_id

NUMBER, OTHER = "+31600000001", "+31600000002"


def message(n: int, id_: str, number: str = NUMBER) -> ProviderMessage:
    """The message of delivery ``n`` that an SMSC took under this ID."""
    return a_provider_message(
        n, provider="sms", message=named("eu", id_), address=compared_digits(number)
    )


def receipt(
    id_: str, source: str = NUMBER, *, ids: ReceiptIds = "auto", marked: bool = True
) -> Receipt:
    """A receipt under this ID, from a number in some form."""
    read = SmscReceipt(id_, MessageState.UNDELIVERABLE, addresses=(source, "AOI"), marked=marked)
    return outcome_of("eu", ids, read, "")


def matched(
    about: Receipt,
    *messages: ProviderMessage,
    settled: tuple[int, ...] = (),
    usual: str | None = None,
    waited: bool = True,
) -> tuple[int, str | None] | None:
    """The number of the delivery that the receipt is about, and how its ID is spelled."""
    exact = {each.message: each for each in messages}
    found = Found(exact, by_folded_name(messages), set(map(delivery_id, settled)))
    one = match(about, found, usual or about.usual, waited=waited)
    if one is None:
        return None
    numbers = {delivery_id(n): n for n in range(10)}
    return numbers[one.message.delivery], one.how


@pytest.mark.parametrize(
    "id_, how",
    [
        ("00B8BE12", None),
        ("B8BE12", "same"),
        ("00b8be12", "same"),
        ("0000000000b8Be12", "same"),
        ("12107282", "decimal"),
        ("0012107282", "decimal"),
    ],
)
@pytest.mark.parametrize("source", [NUMBER, "31600000001", "0031600000001", "0600000001"])
def test_every_spelling_of_a_hexadecimal_id_is_found(
    id_: str, how: str | None, source: str
) -> None:
    """Another base, case or length, from the number in every form."""
    assert matched(receipt(id_, source), message(1, "00B8BE12"), message(2, "42")) == (1, how)


def test_a_decimal_id_is_found_in_hexadecimal() -> None:
    """The other way round."""
    assert matched(receipt("B8BE12"), message(1, "12107282")) == (1, "hexadecimal")


@pytest.mark.parametrize("source", [OTHER, "anything", "1"])
def test_an_exact_id_wins(source: str) -> None:
    """Although another message has the ID in another base: the number agrees, or is none."""
    messages = message(1, "10"), message(2, "16", OTHER)
    for waited in (False, True):
        assert matched(receipt("16", source), *messages, waited=waited) == (2, None)


def test_an_exact_id_with_another_number_gives_way_to_a_spelling_that_fits() -> None:
    """The number says which of two messages is meant; where several fit, neither it is."""
    exact = message(2, "16", OTHER)
    assert matched(receipt("16"), message(1, "10"), exact) == (1, "decimal")
    assert matched(receipt("16"), message(1, "10"), message(3, "0016"), exact) is None
    assert matched(receipt("16"), exact) == (2, None)


@pytest.mark.parametrize(
    "about, usual",
    [
        (receipt("16"), None),  # of another number
        (receipt("16", OTHER, ids="decimal"), None),
        (receipt("16", OTHER), "decimal"),
        (receipt("16", ""), "hexadecimal"),
    ],
)
def test_an_exact_id_waits_for_a_message_that_may_be_noted_in_a_moment(
    about: Receipt, usual: str | None
) -> None:
    """The number contradicts it, or the base that is known makes another ID of it."""
    exact = message(2, "16", OTHER)
    assert matched(about, exact, usual=usual, waited=False) is None


@pytest.mark.parametrize(
    "about",
    [receipt("16", ids="same"), receipt("7"), receipt("4f1c-ad")],
)
def test_an_exact_id_with_one_spelling_does_not_wait(about: Receipt) -> None:
    """No other message may be meant, whatever the number."""
    id_ = about.provider_message.rpartition(" ")[2]
    assert matched(about, message(2, id_, OTHER), waited=False) == (2, None)


def test_at_the_first_look_only_the_known_base_counts_beside_the_exact_id() -> None:
    """Any other spelling waits until the exact ID had its time to be noted."""
    about, noted = receipt("12107282"), message(1, "00B8BE12")
    assert matched(about, noted, waited=False) is None
    assert matched(about, noted, usual="decimal", waited=False) == (1, "decimal")
    assert matched(about, noted, usual="hexadecimal", waited=False) is None
    assert matched(about, noted, usual="hexadecimal") == (1, "decimal")


@pytest.mark.parametrize("source", [OTHER, "1", ""])
def test_another_spelling_counts_only_with_the_number(source: str) -> None:
    """A receipt of another telephone, or of none, is about another message."""
    assert matched(receipt("12107282", source), message(1, "00B8BE12")) is None


def test_another_spelling_counts_only_if_one_message_fits() -> None:
    """Two open messages to one number that may be meant: neither is."""
    messages = message(1, "10"), message(2, "0016")
    assert matched(receipt("16"), *messages) is None
    assert matched(receipt("16"), *messages, settled=(2,)) == (1, "decimal")
    assert matched(receipt("16"), *messages, settled=(1,)) == (2, "same")
    assert matched(receipt("16"), *messages, settled=(1, 2)) is None


def test_a_delivery_that_fits_comes_before_a_challenge() -> None:
    """A challenge never ends: an old one must not take the receipt of a delivery that has."""
    challenge = replace(message(3, "0016"), delivery="chl_a")
    assert matched(receipt("16"), message(1, "10"), challenge, settled=(1,)) == (1, "decimal")
    assert matched(receipt("16"), message(1, "10"), challenge) == (1, "decimal")
    found = Found({}, by_folded_name([challenge]))
    assert match(receipt("16"), found, None, waited=True) == Match(challenge, "same")


def test_a_late_receipt_finds_a_delivery_that_has_ended() -> None:
    """The only message that fits, although it is not open: the merge of outcomes decides."""
    assert matched(receipt("12107282"), message(1, "00B8BE12"), settled=(1,)) == (1, "decimal")


@pytest.mark.parametrize("in_receipt, in_response", [("16", "10"), ("5", "5")])
def test_where_the_base_is_known_an_ended_delivery_waits_for_one_with_its_id(
    in_receipt: str, in_response: str
) -> None:
    """An SMSC uses short IDs again: the receipt is that of the message that is noted in a moment,
    and only if none is, that of the old one. Receipts of challenges wait likewise.
    """
    about, old = receipt(in_receipt, ids="decimal"), message(1, in_response)
    how = None if in_receipt == in_response else "decimal"
    assert matched(about, old, settled=(1,), waited=False) is None
    assert matched(about, replace(old, delivery="chl_a"), waited=False) is None
    noted = matched(about, old, message(2, in_response), settled=(1,), waited=False)
    assert noted == (2, how)
    assert matched(about, old, settled=(1,)) == (1, how)


def test_a_known_spelling_comes_before_an_exact_id() -> None:
    """IDs that are counted up have one spelling in both bases: what was learned decides."""
    messages = message(1, "10"), message(2, "16")
    assert matched(receipt("16"), *messages, usual="decimal") == (1, "decimal")
    assert matched(receipt("16"), message(2, "16"), usual="decimal") == (2, None)
    assert matched(receipt("16"), message(1, "10", OTHER), messages[1], usual="decimal") == (
        2,
        None,
    )


def test_where_the_base_is_known_an_exact_id_needs_its_number() -> None:
    """The message that is meant may be noted in a moment: another telephone's is not taken."""
    for usual in (None, "same"):
        assert matched(receipt("16"), message(2, "16", OTHER), usual=usual) == (2, None)
    assert matched(receipt("16"), message(2, "16", OTHER), usual="decimal") is None
    assert matched(receipt("16", ids="decimal"), message(2, "16", OTHER)) is None
    assert matched(receipt("16"), message(2, "16", ""), usual="decimal") == (2, None)


def test_an_id_that_is_the_same_in_both_bases_is_exact() -> None:
    """It names one message only, whatever number the SMSC writes."""
    assert matched(receipt("7"), message(2, "7", OTHER), usual="decimal") == (2, None)


@pytest.mark.parametrize(
    "ids, about",
    [("auto", (1, "decimal")), ("decimal", (1, "decimal")), ("same", None), ("hexadecimal", None)],
)
def test_the_setting_of_the_smsc_says_which_spellings_count(
    ids: ReceiptIds, about: tuple[int, str] | None
) -> None:
    """Only the base that is set, or each."""
    assert matched(receipt("12107282", ids=ids), message(1, "00B8BE12")) == about
    assert matched(receipt("b8be12", ids=ids), message(1, "00B8BE12")) == (1, "same")


def test_a_text_that_a_telephone_may_have_written_needs_its_number() -> None:
    """A receipt without the mark of one reports on messages to its own number only."""
    assert matched(receipt("42", marked=False), message(1, "42")) == (1, None)
    assert matched(receipt("42", marked=False), message(1, "42", OTHER)) is None


def test_the_id_in_the_text_is_tried_beside_that_in_the_parameters() -> None:
    """Of two IDs in one receipt the one that was given counts."""
    read = SmscReceipt("777", MessageState.DELIVERED, text_id="B8BE12", addresses=(NUMBER,))
    about = outcome_of("eu", "auto", read, "")
    assert matched(about, message(1, "00B8BE12")) == (1, "same")


@given(st.integers(0, 2**64 - 1), st.sampled_from(["d", "x", "X", "08x", "020d"]), st.data())
def test_any_spelling_of_any_id_is_found(number: int, form: str, data: st.DataObject) -> None:
    """Whatever forms an SMSC chooses for response and receipt."""
    bases = ["d", "020d"] if form.endswith("d") else ["x", "X", "016X"]
    other = data.draw(st.sampled_from([*bases, "d" if "d" not in form else "x"]))
    one = matched(receipt(format(number, other)), message(1, format(number, form)))
    assert one is not None
    assert one[0] == 1


@given(st.text("0123456789abcdefABCDEF-xyz", min_size=1, max_size=60))
def test_any_id_of_a_receipt_has_bounded_spellings(id_: str) -> None:
    """At most three, whatever the ID."""
    assert 1 <= len(receipt(id_).spellings) <= 3
