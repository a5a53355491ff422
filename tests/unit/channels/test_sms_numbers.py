"""Telephone numbers and senders as SMPP addresses."""

from __future__ import annotations

import pytest

from aoi_events.channels.sms.numbers import SmppAddress, destination, normalised, source


@pytest.mark.parametrize(
    "offered, number",
    [
        ("+31 6 0000-0001", "+31600000001"),
        ("+1 (212) 555.0100", "+12125550100"),
        ("0031600000001", None),
        ("+31600000001\0", None),
        ("+3160000000123456", None),
        ("+31٦٠٠٠٠٠٠٠", None),
        ("+" + "1" * 5_000, None),
        ("", None),
    ],
)
def test_only_full_numbers_are_taken(offered: str, number: str | None) -> None:
    """A number needs its country; nothing but ASCII digits reaches an address field."""
    assert normalised(offered) == number
    assert destination(offered.replace(" ", "")) is None or number is not None


@pytest.mark.parametrize(
    "sender, address",
    [
        ("+31600000000", SmppAddress(1, 1, "31600000000")),
        ("1234", SmppAddress(0, 1, "1234")),
        ("AOI", SmppAddress(5, 0, "AOI")),
    ],
)
def test_the_sender_has_the_type_of_its_form(sender: str, address: SmppAddress) -> None:
    """International numbers, short codes and names are marked as what they are."""
    assert source(sender) == address
