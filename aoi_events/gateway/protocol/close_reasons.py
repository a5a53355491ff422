"""The close codes and texts with which the gateway closes a device's connection."""

from __future__ import annotations

from typing import Final

from aoi_events.contracts.device import CloseCode
from aoi_events.errors import ErrorCode

CloseDetails = tuple[CloseCode, str]
"""A close code, and a text for the developer of the device."""

_LONGEST: Final = 300
"""Octets of a text in a goodbye frame."""
_REASON: Final = 123
"""Octets of a close frame's reason (RFC 6455, section 5.5)."""

_RETIRED: Final[CloseDetails] = (
    CloseCode.RETIRED,
    "this AOI Client ID has ended; register again",
)
_HELLO_REFUSED: Final[dict[str, CloseDetails]] = {
    ErrorCode.UNAUTHENTICATED: (
        CloseCode.UNAUTHENTICATED,
        "there is no such AOI Client with that secret",
    ),
    ErrorCode.CLIENT_RETIRED: _RETIRED,
    ErrorCode.QUOTA_EXCEEDED: (CloseCode.TOO_MANY, "a limit is reached; connect again later"),
}
_ANNOUNCEMENT_REFUSED: Final[dict[str, CloseDetails]] = {
    ErrorCode.UNAUTHENTICATED: _RETIRED,
    ErrorCode.CLIENT_RETIRED: _RETIRED,
    ErrorCode.CONFLICT: (CloseCode.REPLACED, "another connection of this client took over"),
}


def hello_refused(code: str | None) -> CloseDetails:
    """How to close a session whose hello was refused with ``code``, or not answered (None)."""
    later = (CloseCode.TRY_LATER, "the server cannot admit you now; connect again later")
    return later if code is None else _HELLO_REFUSED.get(code, later)


def announcement_refused(code: str) -> CloseDetails:
    """How to close an open session whose announcement was refused with ``code``.

    Only a conflict means that the client has another connection; after any other code the device
    should connect again.
    """
    return _ANNOUNCEMENT_REFUSED.get(code, (CloseCode.SERVICE_RESTART, "connect again"))


def shortened(text: str, limit: int = _LONGEST) -> str:
    """Cut ``text`` to at most ``limit`` octets of UTF-8, between two characters."""
    octets = text.encode(errors="replace")
    return text if len(octets) <= limit else octets[:limit].decode(errors="ignore")


def reason(text: str) -> str:
    """Cut ``text`` to the length that a close frame can carry."""
    return shortened(text, _REASON)
