"""Delivery receipts of an SMSC, in the forms that SMSCs use. Pure.

A ``deliver_sm`` or ``data_sm`` is a receipt when bits 5 to 2 of its ``esm_class`` are 0001 (SMPP
3.4, 5.2.12); where they are 0000, when its optional parameters or its text are those of a receipt.
Its content is in the optional parameters ``receipted_message_id`` and ``message_state`` (5.3.2.12,
5.3.2.35), or in the text of appendix B: ``id:… dlvrd:… stat:… err:…``, also in UCS-2, or as JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from aoi_events.channels.sms.message_states import MessageState, state_named, state_numbered
from aoi_events.channels.sms.pdu import Message, is_printable
from aoi_events.errors import MalformedPdu

RECEIPTED_MESSAGE_ID: Final = 0x001E
"""Optional parameter that names the message of a receipt (SMPP 3.4, 5.3.2.12)."""

MESSAGE_STATE: Final = 0x0427
"""Optional parameter with the state of the message (SMPP 3.4, 5.3.2.35)."""


@dataclass(frozen=True, slots=True)
class SmscReceipt:
    """A receipt for a message.

    ``error`` is the code of the network, for people. ``text_id``: the ID in its text, beside one in
    its parameters. ``addresses``: those that it names, as the SMSC writes them. ``marked``: it says
    that it is a receipt; a text without that may as well come from a telephone.
    """

    message_id: str
    state: MessageState
    error: str = ""
    text_id: str = ""
    addresses: tuple[str, ...] = ()
    marked: bool = True


_TYPE_BITS: Final = 0x3C
_PLAIN: Final = 0x00
_RECEIPT: Final = 0x04
_USER_DATA_HEADER: Final = 0x40
_NETWORK_ERROR_CODE: Final = 0x0423
_MESSAGE_PAYLOAD: Final = 0x0424
_LONGEST_ID: Final = 65  # octets with NUL, SMPP 3.4, 5.2.23
_LONGEST_TEXT: Final = 1_024
_LONGEST_ADDRESS: Final = 20  # octets without NUL, SMPP 3.4, 5.2.8

# The text field quotes our message: nothing behind it is the SMSC's.
_QUOTED: Final = re.compile(r"\btext\s?[:=]", re.IGNORECASE)
_FIELD: Final = r"(?:sub|dlvrd|submit|done|stat(?:us|e)?|err|text)\s?[:=]"
_OF_MESSAGE: Final = r"\b(?:(?:receipted_)?(?:message|msg|sms|dlr|delivery)_?)?"
_ID_TEXT: Final = re.compile(
    rf"""{_OF_MESSAGE}id\s?[:=]\s*["']?(?!{_FIELD})"""
    r"""([!#-&(-+\--:<-{}~]{1,64})(?=[\s,;|"']|$)""",
    re.IGNORECASE,
)
# An empty or unreadable state is one, too: the count alone must not take its place. Of several
# words the first is not enough where it says neither yes nor no, or yes only to the network.
_STATE_TEXT: Final = re.compile(
    rf"""{_OF_MESSAGE}stat(?:us|e)?["']?\s*[:=](?:\s*["']?(?!{_FIELD})"""
    r"""(delivered to (?:the )?[a-z]+|(?:delivery|message) [a-z]+\b(?!\s?[:=])"""
    r"""|[^\s,;|"':=]{0,40}))?""",
    re.IGNORECASE,
)
_COUNT_TEXT: Final = re.compile(r"\bdlvrd\s*[:=]\s*([0-9]{1,8})", re.IGNORECASE)
_ERROR_TEXT: Final = re.compile(r"\berr\s*[:=]\s*([0-9A-Za-z]{1,8})", re.IGNORECASE)


def read_receipt(message: Message) -> SmscReceipt | None:
    """The receipt in a message; None for any other message (one from a telephone, say).

    Where its states contradict each other, *not delivered* counts. Raises `MalformedPdu`
    for a receipt that names no message.
    """
    kind = message.esm_class & _TYPE_BITS
    if kind not in (_PLAIN, _RECEIPT):
        return None
    text = _text_of(message)
    parameter_id = _id_in(message.optional.get(RECEIPTED_MESSAGE_ID))
    text_id = _found(_ID_TEXT, text)
    states = _states_in(message, text)
    marked = kind == _RECEIPT or parameter_id is not None
    if not marked and (text_id is None or not states):
        return None
    message_id = parameter_id or text_id
    if message_id is None:
        raise MalformedPdu("a receipt that names no message")
    error = _error_in(message, text)
    return SmscReceipt(
        message_id,
        state=_state_of(states, text, error),
        error=error,
        text_id=text_id or "",
        addresses=tuple(
            address
            for address in (message.source, message.destination)
            if 0 < len(address) <= _LONGEST_ADDRESS
        ),
        marked=marked,
    )


def _text_of(message: Message) -> str:
    raw = message.short_message or message.optional.get(_MESSAGE_PAYLOAD, b"")
    if raw and message.esm_class & _USER_DATA_HEADER:
        raw = raw[1 + raw[0] :]
    text = _decoded(raw[:_LONGEST_TEXT]).rstrip("\0")
    return _QUOTED.split(_fields_of_json(text) or text, 1)[0]


def _fields_of_json(text: str) -> str:
    """The text form of a JSON object, whose values may have spaces; empty: it is none."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(fields, dict):
        return ""
    return " ".join(
        f"{name}:{'-' if value is None else '_'.join(str(value).split())}"
        for name, value in fields.items()
        if name.lower() != "text"
    )


def _decoded(raw: bytes) -> str:
    """The text; UCS-2 is recognised by its zeros, because its ``data_coding`` may be anything."""
    if raw[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return raw.decode("utf-16", "replace")
    if raw[:1] == b"\0":
        return raw.decode("utf-16-be", "replace")
    if raw[1:2] == b"\0":
        return raw.decode("utf-16-le", "replace")
    return raw.decode("latin-1")


def _states_in(message: Message, text: str) -> list[MessageState]:
    """The states that the parameter and the text name."""
    states = []
    if len(value := message.optional.get(MESSAGE_STATE, b"")) == 1:
        states.append(state_numbered(value[0]))
    words = _STATE_TEXT.findall(text)
    for word in filter(None, words):
        number = word.isascii() and word.isdigit()
        states.append(state_numbered(int(word)) if number else state_named(word))
    return states or [MessageState.UNKNOWN] * len(words)


def _state_of(states: list[MessageState], text: str, error: str) -> MessageState:
    count = _found(_COUNT_TEXT, text)
    refuting = (bool(error.strip("0")), count is not None and int(count) == 0)
    if not states:
        unsaid = MessageState.UNKNOWN if count is None else MessageState.DELIVERED
        return MessageState.UNDELIVERABLE if any(refuting) else unsaid
    # Of two that differ, the first of: failed, not understood, delivered, not final.
    unknown, delivered = MessageState.UNKNOWN, MessageState.DELIVERED
    state = max(states, key=lambda each: (each.failed, each is unknown, each is delivered))
    # Many an SMSC fills in only one of them; both contradict a state that says "delivered".
    refuted = {unknown: any(refuting), delivered: all(refuting)}
    return MessageState.UNDELIVERABLE if refuted.get(state) else state


def _error_in(message: Message, text: str) -> str:
    value = message.optional.get(_NETWORK_ERROR_CODE, b"")
    if len(value) == 3:  # the kind of network, and its code: SMPP 3.4, 5.3.2.31
        return f"{int.from_bytes(value[1:], 'big'):03}"
    return _found(_ERROR_TEXT, text) or ""


def _id_in(value: bytes | None) -> str | None:
    if value is None or len(value) > _LONGEST_ID:
        return None
    octets = value.partition(b"\0")[0]
    return octets.decode("ascii") if octets and is_printable(octets) else None


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(1) if match else None
