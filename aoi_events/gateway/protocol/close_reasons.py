"""With which close code, and which words, a device is sent away."""

from __future__ import annotations

from typing import Final

from aoi_events.contracts.device import CloseCode
from aoi_events.errors import ErrorCode

__all__ = ["Farewell", "displaced", "reason", "shortened", "turned_away"]

Farewell = tuple[CloseCode, str]

_LONGEST: Final = 300
"""Octets of an explanation."""
_REASON: Final = 123
"""Octets of a close frame's reason (RFC 6455, section 5.5)."""

_RETIRED: Final[Farewell] = (
    CloseCode.RETIRED,
    "this AOI Client ID has ended; register again",
)
_TURNED_AWAY: Final[dict[str, Farewell]] = {
    ErrorCode.UNAUTHENTICATED: (
        CloseCode.UNAUTHENTICATED,
        "there is no such AOI Client with that secret",
    ),
    ErrorCode.CLIENT_RETIRED: _RETIRED,
    ErrorCode.QUOTA_EXCEEDED: (CloseCode.TOO_MANY, "a limit is reached; connect again later"),
}
_DISPLACED: Final[dict[str, Farewell]] = {
    ErrorCode.UNAUTHENTICATED: _RETIRED,
    ErrorCode.CLIENT_RETIRED: _RETIRED,
    ErrorCode.CONFLICT: (CloseCode.REPLACED, "another connection of this client took over"),
}


def turned_away(code: str | None) -> Farewell:
    """A hello was refused with ``code``, or nobody could say in time (None)."""
    later = (CloseCode.TRY_LATER, "the server cannot admit you now; connect again later")
    return later if code is None else _TURNED_AWAY.get(code, later)


def displaced(code: str) -> Farewell:
    """The announcement of an open session was refused.

    Only a conflict says that the client has another connection; whatever else it was, the device
    shall come back.
    """
    return _DISPLACED.get(code, (CloseCode.SERVICE_RESTART, "connect again"))


def shortened(text: str, limit: int = _LONGEST) -> str:
    """``text`` with at most ``limit`` octets of UTF-8, cut between characters."""
    octets = text.encode(errors="replace")
    return text if len(octets) <= limit else octets[:limit].decode(errors="ignore")


def reason(text: str) -> str:
    """``text`` as a close frame can carry it."""
    return shortened(text, _REASON)
