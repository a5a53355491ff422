"""Other spellings of a message ID. Pure.

SMSCs name a message in its receipt in another base than in the response to its submission, in
another case, or padded: ``00B8BE12``, ``12107282``, ``b8be12``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from aoi_events.channels.sms.receipts import SmscReceipt

ReceiptIds: TypeAlias = Literal["auto", "same", "decimal", "hexadecimal"]
"""How receipts spell IDs, beside those of responses: found out, alike, or in that base."""


class Spelling(StrEnum):
    """How the ID in a receipt differs from that in a response."""

    SAME = "same"
    """In case or padding, or not at all."""
    DECIMAL = "decimal"
    """It is decimal, and that in the response hexadecimal."""
    HEXADECIMAL = "hexadecimal"
    """It is hexadecimal, and that in the response decimal."""


_DIGITS: Final = re.compile(r"[0-9]{1,40}")
_HEX_DIGITS: Final = re.compile(r"[0-9A-Fa-f]{1,32}")
_COMPARED_DIGITS: Final = 7


def spellings(receipt: SmscReceipt, ids: ReceiptIds) -> Iterator[tuple[Spelling, str]]:
    """IDs that the message of a receipt may have in a response, as far as ``ids`` allows them."""
    yield Spelling.SAME, receipt.message_id
    if receipt.text_id and receipt.text_id != receipt.message_id:
        yield Spelling.SAME, receipt.text_id
    if ids in ("auto", "decimal") and _DIGITS.fullmatch(receipt.message_id):
        yield Spelling.DECIMAL, f"{int(receipt.message_id):x}"
    if ids in ("auto", "hexadecimal") and _HEX_DIGITS.fullmatch(receipt.message_id):
        yield Spelling.HEXADECIMAL, f"{int(receipt.message_id, 16)}"


def compared_digits(number: str) -> str:
    """The last digits of a telephone number: the same in every form of it, with or without country
    and trunk prefix. Empty: it has too few.
    """
    digits = re.sub(r"[^0-9]", "", number)
    return digits[-_COMPARED_DIGITS:] if len(digits) >= _COMPARED_DIGITS else ""
