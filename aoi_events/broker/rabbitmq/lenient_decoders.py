"""Decoders of AMQP properties that never raise, so that hostile senders cannot end a connection.

RabbitMQ hands on the short strings, timestamps and header tables of a sender unread. pamqp raises
on bytes that are not UTF-8, on dates past the year 9999 and on deep nesting, and aiormq closes
the connection then: one message with a correlation ID of ``FF`` would take down every consumer of
its queue, again after each reconnection. pamqp finds its decoders in a public table, so the three
that can raise are replaced there by ones that cannot. This holds for the whole process and changes
nothing for valid values.
"""

from __future__ import annotations

import struct

from pamqp import common, decode

HEADERS_LIMIT = 32 * 1024
"""Octets of a header table that are looked at; decoding takes time with the square of them."""

UNREADABLE = "x-aoi-unreadable"
"""The only header of a message whose header table cannot be read or is too large."""

_SIZE = struct.Struct(">I")


def install_lenient_decoders() -> None:
    """Install the decoders for the whole process. Idempotent."""
    decode.METHODS["shortstr"] = _short_string
    decode.METHODS["timestamp"] = _timestamp
    decode.METHODS["table"] = _table


def _short_string(value: bytes) -> tuple[int, str]:
    end = value[0] + 1
    octets = value[1:end]
    try:
        return end, octets.decode()
    except UnicodeDecodeError:
        # One ASCII character for each bad octet: the result is never longer than what was sent.
        return end, octets.decode(errors="replace").replace("\ufffd", "?")


def _timestamp(value: bytes) -> tuple[int, common.FieldValue]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def _table(value: bytes) -> tuple[int, common.FieldValue]:
    size = _SIZE.unpack_from(value)[0]
    if size > HEADERS_LIMIT:
        return size + 4, {UNREADABLE: True}
    try:
        return decode.field_table(value)
    except (ValueError, OverflowError, OSError, ArithmeticError, TypeError, RecursionError):
        return size + 4, {UNREADABLE: True}
