"""Codec of content types in WSP: registered numbers where there are any, else texts. Pure.

A media type is a number of OMNA's list or a text (WAP-230-WSP, 8.4.2.24). A parameter has a number
(table 38: charset is 1) or a name, and a value that is an integer, a text (a quoted one begins with
``"``) or none (8.4.2.4, 8.4.2.23).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aoi_events.errors import MalformedPdu
from aoi_events.oma_push.wsp import (
    Reader,
    encode_integer_or_text,
    encode_length,
    encode_uintvar,
)

_Q: Final = 0x00  # the one parameter whose value is a uintvar (8.4.2.3)
_LARGEST_SHORT_INTEGER: Final = 0x7F

_MEDIA_TYPES: Final[Mapping[int, str]] = {
    0x02: "text/html",
    0x03: "text/plain",
    0x08: "text/vnd.wap.wml",
    0x14: "application/vnd.wap.wmlc",
    0x27: "application/xml",
    0x28: "text/xml",
    0x29: "application/vnd.wap.wbxml",
    0x2D: "text/vnd.wap.si",
    0x2E: "application/vnd.wap.sic",
    0x2F: "text/vnd.wap.sl",
    0x30: "application/vnd.wap.slc",
    0x31: "text/vnd.wap.co",
    0x32: "application/vnd.wap.coc",
    0x35: "text/vnd.wap.connectivity-xml",
    0x36: "application/vnd.wap.connectivity-wbxml",
    0x3E: "application/vnd.wap.mms-message",
    0x42: "application/vnd.syncml.dm+wbxml",
    0x43: "application/vnd.syncml.dm+xml",
    0x44: "application/vnd.syncml.notification",
    0x5A: "application/octet-stream",
}
"""The registered media types that occur in pushes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a content type; ``value`` None: it has no value."""

    name: int | str
    value: int | str | None


@dataclass(frozen=True, slots=True)
class ContentType:
    """A content type; ``media`` is a number of OMNA's list or a media type as text."""

    media: int | str
    parameters: tuple[Parameter, ...] = ()

    @property
    def media_type(self) -> str:
        """The media type as text, in lower case, however it was written."""
        if isinstance(self.media, str):
            return self.media.lower()
        return _MEDIA_TYPES.get(self.media, f"number 0x{self.media:02X} of the WSP content types")


def encode_content_type(content_type: ContentType) -> bytes:
    """Encode in the shortest form. Raises MalformedPdu for a value that WSP cannot express."""
    media = encode_integer_or_text(content_type.media)
    fits_constrained_form = (
        isinstance(content_type.media, str) or content_type.media <= _LARGEST_SHORT_INTEGER
    )
    if fits_constrained_form and not content_type.parameters:
        return media
    general = media + b"".join(map(_encode_parameter, content_type.parameters))
    return encode_length(len(general)) + general


def read_content_type(head: Reader) -> ContentType:
    """Read the content type, with which the headers begin."""
    what = "the content type"
    if not head.starts_with_length:
        return ContentType(head.integer_or_text(what))
    general = Reader(head.take(head.length(what), what))
    media = general.integer_or_text(what)
    parameters: list[Parameter] = []
    while not general.at_end:
        parameters.append(_read_parameter(general))
    return ContentType(media, tuple(parameters))


def _encode_parameter(parameter: Parameter) -> bytes:
    name, value = parameter.name, parameter.value
    encoded = encode_integer_or_text(name)
    if name == _Q:
        if not isinstance(value, int):
            raise MalformedPdu("the parameter q is a number")
        return encoded + encode_uintvar(value)
    return encoded + (b"\0" if value is None else encode_integer_or_text(value))


def _read_parameter(general: Reader) -> Parameter:
    name = general.integer_or_text("a parameter")
    what = "the value of a parameter"
    if name == _Q:
        return Parameter(name, general.uintvar(what))
    if general.skip(0):
        return Parameter(name, None)
    return Parameter(name, general.integer_or_text(what))
