"""Reads content types in WSP: registered numbers where there are any, else texts. Pure.

A media type is a number of OMNA's list or a text (WAP-230-WSP, 8.4.2.24). A parameter has a number
(table 38: charset is 1) or a name, and a value that is an integer, a text (a quoted one begins with
``"``) or none (8.4.2.4, 8.4.2.23).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aoi_events.oma_push.wsp import Reader

_Q: Final = 0x00  # the one parameter whose value is a uintvar (8.4.2.3)

MEDIA_TYPES: Final[Mapping[int, str]] = {
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


def read_media_type(head: Reader) -> str:
    """Read the content type, with which the headers begin; the media type in lower case.

    Its parameters are read, since they may be malformed, and left out.
    """
    what = "the content type"
    if not head.starts_with_length:
        return _media_type(head.integer_or_text(what))
    general = Reader(head.take(head.length(what), what))
    media = general.integer_or_text(what)
    while not general.at_end:
        _read_parameter(general)
    return _media_type(media)


def _media_type(media: int | str) -> str:
    if isinstance(media, str):
        return media.lower()
    return MEDIA_TYPES.get(media, f"number 0x{media:02X} of the WSP content types")


def _read_parameter(general: Reader) -> None:
    what = "the value of a parameter"
    if general.integer_or_text("a parameter") == _Q:
        general.uintvar(what)
    elif not general.skip(0):
        general.integer_or_text(what)
