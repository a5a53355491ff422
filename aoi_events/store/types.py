"""Column types: how both databases store the records' values."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import TEXT, BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from aoi_events.store import json_columns

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
    """The value from which :func:`to_text` made the text."""
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


class Converted(TypeDecorator[T], Generic[T]):
    """A type whose values are converted by two functions, which also take None.

    SQLAlchemy gets the functions themselves as its processors: they run for every field of every
    row, and each layer of calls between would show.
    """

    impl: type[TypeEngine[Any]] = Text
    cache_ok = True

    def __init__(self, write: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.write = write
        self.read = read

    def write_all(self, values: Sequence[Any]) -> list[Any]:
        """The values of a column, converted for the database."""
        return list(map(self.write, values))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """The conversion for the database."""
        return self.write

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """The conversion of the database's values."""
        return self.read


class Instant(Converted[datetime]):
    """A point in time, as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(_unless_none(json_columns.to_micros), _read_instant)


class AnyText(Converted[str]):
    """Text from outside, with any characters."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(_unless_none(to_text), _read_text)

    def write_all(self, values: Sequence[Any]) -> list[Any]:
        """The values, checked together, because hardly any of them needs a change."""
        together = "".join(filter(None, values))
        if together.isascii() and "\\" not in together and "\0" not in together:
            return list(values)
        return super().write_all(values)


class Name(AnyText):
    """Text that is a key: compared octet by octet, so its order is the same everywhere,
    and faster.
    """

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type for a dialect; SQLite compares by octets anyway."""
        return TEXT(collation="C") if dialect.name == "postgresql" else TEXT()


class Choice(Converted[E], Generic[E]):
    """A member of an enumeration, by its value."""

    cache_ok = True

    def __init__(self, choices: type[E]) -> None:
        members: dict[str | None, E | None] = {choice.value: choice for choice in choices}
        members[None] = None
        # A member of a StrEnum is its value.
        super().__init__(_as_it_is, members.__getitem__)
        self.choices = choices

    def write_all(self, values: Sequence[Any]) -> list[Any]:
        """The values, unchanged."""
        return list(values)


class Packed(Converted[T], Generic[T]):
    """A compound value as JSON text; ``optional``: it may be NULL."""

    cache_ok = True

    def __init__(
        self, pack: Callable[[T], str], unpack: Callable[[str], T], *, optional: bool = False
    ) -> None:
        self.pack = pack
        self.unpack = unpack
        self.optional = optional
        super().__init__(
            _unless_none(pack) if optional else pack, _unless_none(unpack) if optional else unpack
        )


class Octets(Converted[bytes]):
    """Octets as base64, since rows travel as JSON to SQLite."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(lambda value: b64encode(value).decode(), b64decode)


def _as_it_is(value: Any) -> Any:
    return value


def _unless_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _read_instant(value: int | None) -> datetime | None:
    return None if value is None else json_columns.EPOCH + timedelta(microseconds=value)


def _read_text(value: str | None) -> str | None:
    return value if value is None or "\\" not in value else from_text(value)
