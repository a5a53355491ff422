"""Column types: how the records' values stand in both databases."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import TEXT, BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from aoi_events.store import packing

__all__ = ["AnyText", "Choice", "Instant", "Name", "Octets", "Packed", "from_text", "to_text"]

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

_UNSAFE: Final = re.compile("[\0\\\\\ud800-\udfff]")
_ESCAPED: Final = re.compile(r"\\([0-9a-f]{4})")


def to_text(value: str) -> str:
    r"""``value`` without the characters that databases refuse: NUL and lone surrogates.

    They, and the backslash itself, become ``\`` and four hexadecimal digits; so every text has
    exactly one spelling, and equal texts stay equal.
    """
    if _UNSAFE.search(value) is None:
        return value
    return _UNSAFE.sub(lambda match: f"\\{ord(match[0]):04x}", value)


def from_text(value: str) -> str:
    """What :func:`to_text` was given."""
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


class Instant(TypeDecorator[datetime]):
    """A point in time, as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Into the database."""
        return None if value is None else packing.to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Out of the database."""
        return None if value is None else packing.from_micros(value)


class AnyText(TypeDecorator[str]):
    """Text from outside, of any characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Out of the database."""
        return None if value is None else from_text(value)


class Name(AnyText):
    """Text that is a key: compared octet by octet, so in the same order everywhere, and faster."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite compares so anyway."""
        return TEXT(collation="C") if dialect.name == "postgresql" else TEXT()


class Choice(TypeDecorator[E], Generic[E]):
    """A member of an enumeration, by its value."""

    impl = Text
    cache_ok = True

    def __init__(self, choices: type[E]) -> None:
        super().__init__()
        self.choices = choices
        self._by_value = {choice.value: choice for choice in choices}

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        """Out of the database."""
        return None if value is None else self._by_value[value]


class Packed(TypeDecorator[T], Generic[T]):
    """A value of several parts as JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, pack: Callable[[T], str], unpack: Callable[[str], T]) -> None:
        super().__init__()
        self.pack = pack
        self.unpack = unpack

    def process_bind_param(self, value: T | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else self.pack(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> T | None:
        """Out of the database."""
        return None if value is None else self.unpack(value)


class Octets(TypeDecorator[bytes]):
    """Octets as base64, since rows travel as JSON to SQLite."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else b64encode(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Out of the database."""
        return None if value is None else b64decode(value)
