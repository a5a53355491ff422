"""Delivery receipts of an SMSC: optional parameters, or the text form. Pure.

A ``deliver_sm`` is a receipt when bits 5 to 2 of its ``esm_class`` are 0001 (SMPP 3.4, 5.2.12).
Its content is in the optional parameters ``receipted_message_id`` and ``message_state``
(5.3.2.12, 5.3.2.35); where one is missing, in the text of appendix B: ``id:… … stat:… err:…``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aoi_events.errors import MalformedPdu

RECEIPTED_MESSAGE_ID: Final = 0x001E
"""Optional parameter that names the message of a receipt (SMPP 3.4, 5.3.2.12)."""

MESSAGE_STATE: Final = 0x0427
"""Optional parameter with the state of the message (SMPP 3.4, 5.3.2.35)."""


class MessageState(IntEnum):
    """The state of a message that the SMSC took (SMPP 3.4, 5.2.28)."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8


@dataclass(frozen=True, slots=True)
class SmscReceipt:
    """A receipt for a message; ``error`` is the code of the network, for people."""

    message_id: str
    state: MessageState
    error: str = ""


_TYPE_BITS: Final = 0x3C
_RECEIPT: Final = 0x04
_MESSAGE_PAYLOAD: Final = 0x0424
_LONGEST_ID: Final = 65  # octets with NUL, SMPP 3.4, 5.2.23
_LONGEST_TEXT: Final = 512

_ID_TEXT: Final = re.compile(
    r"\bid:\s?(?!(?:sub|dlvrd|submit|done|stat|err|text):)([\x21-\x7e]{1,64})(?:\s|$)",
    re.IGNORECASE,
)
_STATE_TEXT: Final = re.compile(r"\bstat:\s?([A-Za-z]{1,10})", re.IGNORECASE)
_ERROR_TEXT: Final = re.compile(r"\berr:\s?([0-9A-Za-z]{1,8})", re.IGNORECASE)
STATES: Final = {
    "ENROUTE": MessageState.ENROUTE,
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
}
"""The states by their names in the text form."""


def read_receipt(
    esm_class: int, short_message: bytes, tlvs: Iterable[tuple[int, bytes]]
) -> SmscReceipt | None:
    """The receipt in a ``deliver_sm``; None for any other message (one from a telephone, say).

    Raises `MalformedPdu` for a receipt that names no message or no state that we know.
    """
    if esm_class & _TYPE_BITS != _RECEIPT:
        return None
    optional = dict(tlvs)
    raw = short_message or optional.get(_MESSAGE_PAYLOAD, b"")
    text = raw[:_LONGEST_TEXT].decode("latin-1")
    message_id = _id_in(optional.get(RECEIPTED_MESSAGE_ID)) or _found(_ID_TEXT, text)
    if message_id is None:
        raise MalformedPdu("a receipt that names no message")
    state = _state_in(optional.get(MESSAGE_STATE))
    if state is None:
        state = STATES.get((_found(_STATE_TEXT, text) or "").upper())
    if state is None:
        raise MalformedPdu("a receipt without a state that SMPP 3.4 knows")
    return SmscReceipt(message_id, state, _found(_ERROR_TEXT, text) or "")


def _id_in(value: bytes | None) -> str | None:
    if value is None or len(value) > _LONGEST_ID:
        return None
    octets = value.partition(b"\0")[0]
    if not octets or not all(0x20 < octet < 0x7F for octet in octets):
        return None
    return octets.decode("ascii")


def _state_in(value: bytes | None) -> MessageState | None:
    if value is None or len(value) != 1:
        return None
    try:
        return MessageState(value[0])
    except ValueError:
        return None


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(1) if match else None
