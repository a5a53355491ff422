"""Reads the values of WSP's headers: integers, texts, lengths, names (WAP-230-WSP, 8.4).

The first octet of a value determines its form (8.4.1.2): 0 to 30 is a length, and as many octets
follow; 31 precedes a length as uintvar; 32 to 127 begins a text that ends with NUL; 128 to 255 is a
complete value of seven bits. `Reader` never reads past its bytes and raises `MalformedPdu` for
invalid ones. Texts are limited to printable ASCII, of which media types, URIs and header names
consist.
"""

from __future__ import annotations

from typing import Final

from aoi_events.errors import MalformedPdu

_SHORT_INTEGER: Final = 0x80
_LARGEST_SHORT_LENGTH: Final = 30
_LENGTH_QUOTE: Final = 31
_UINTVAR_OCTETS: Final = 5  # 32 bits in groups of seven


class Reader:
    """Reads WSP values from bytes; every method raises `MalformedPdu` if they are incomplete."""

    def __init__(self, data: bytes) -> None:
        """Start at the first octet of `data`."""
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether every octet was read."""
        return self._at >= len(self._data)

    @property
    def starts_with_length(self) -> bool:
        """Whether the next octet begins a value with a length of its own."""
        return not self.at_end and self._data[self._at] <= _LENGTH_QUOTE

    def skip(self, octet: int) -> bool:
        """Read the next octet only if it is this one; returns whether it was."""
        found = not self.at_end and self._data[self._at] == octet
        self._at += found
        return found

    def octet(self, what: str) -> int:
        """The next octet; `what` names it in the error."""
        return self.take(1, what)[0]

    def take(self, count: int, what: str) -> bytes:
        """The next `count` octets."""
        left = len(self._data) - self._at
        if count > left:
            raise MalformedPdu(f"{what}: {count} octets announced, {left} left")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """All octets that were not read."""
        return self.take(len(self._data) - self._at, "the rest")

    def uintvar(self, what: str) -> int:
        """A uintvar of at most five octets and 32 bits."""
        number = 0
        for _ in range(_UINTVAR_OCTETS):
            octet = self.octet(what)
            number = number << 7 | octet & 0x7F
            if octet < _SHORT_INTEGER:
                if number >= 1 << 32:
                    break
                return number
        raise MalformedPdu(f"{what}: a uintvar longer than 32 bits")

    def length(self, what: str) -> int:
        """Value-length."""
        first = self.octet(what)
        if first > _LENGTH_QUOTE:
            raise MalformedPdu(f"{what}: 0x{first:02X} is no length")
        return self.uintvar(what) if first == _LENGTH_QUOTE else first

    def text(self, what: str) -> str:
        """Text-string of printable ASCII, without its NUL."""
        end = self._data.find(0, self._at)
        if end < 0:
            raise MalformedPdu(f"{what}: a text without its end")
        raw = self.take(end - self._at, what)
        self._at += 1
        if not raw or not all(0x20 <= octet <= 0x7E for octet in raw):
            raise MalformedPdu(f"{what}: a text must be printable ASCII and not empty")
        return raw.decode("ascii")

    def integer_or_text(self, what: str) -> int | str:
        """Integer-value in either form, or Text-string."""
        if self.at_end:
            raise MalformedPdu(f"{what} is missing")
        first = self._data[self._at]
        if first >= _SHORT_INTEGER:
            return self.octet(what) & 0x7F
        if first > _LENGTH_QUOTE:
            return self.text(what)
        count = self.octet(what)
        if not 1 <= count <= _LARGEST_SHORT_LENGTH:
            raise MalformedPdu(f"{what}: an integer of {count} octets")
        return int.from_bytes(self.take(count, what), "big")

    def header_name(self) -> int | str:
        """The name of the next header; other header code pages (8.4.2.6) are refused."""
        first = self._data[self._at] if not self.at_end else 0
        if first >= _SHORT_INTEGER:
            return self.octet("a header name") & 0x7F
        if first <= _LENGTH_QUOTE or first == 0x7F:
            raise MalformedPdu(f"header code page shift 0x{first:02X} is not understood")
        return self.text("a header name")

    def skip_value(self) -> None:
        """Skip the value of a header field, which may have any form."""
        what = "a header value"
        if self.starts_with_length:
            self.take(self.length(what), what)
        elif self.octet(what) < _SHORT_INTEGER:
            end = self._data.find(0, self._at)
            if end < 0:
                raise MalformedPdu(f"{what}: a text without its end")
            self._at = end + 1
