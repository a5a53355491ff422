"""Parked messages: those that could not be handled, stored with a reason for an operator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

MAX_PARKED: Final = 256 * 1024
"""Octets of a body that are stored; a larger one is cut and cannot be replayed."""

_SECRET: Final = re.compile(
    rb'("(?:secret|code|password|assertion)"\s*:\s*")((?:[^"\\]|\\.)++\\?+)("|\Z)',
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that could not be handled.

    ``replayable`` is false when a part of it was redacted or cut off; ``obstacle`` names that part.
    """

    id: str
    parked_at: datetime
    queue: str
    routing_key: str
    exchange: str
    sender: str
    code: str
    reason: str
    body: bytes
    replayable: bool
    obstacle: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def redact(body: bytes) -> tuple[bytes, str | None]:
    """``body`` without clients' secrets and within bounds, and why it cannot be replayed, if so.

    Works on bytes that are not JSON, too. Tokens stay: they are needed for a replay, and who can
    read the table can read them elsewhere; they are masked where parked messages are shown.
    """
    # Cut first: octets that are not stored cost nothing, and a secret may end where the body does.
    clean, redacted = _SECRET.subn(rb"\1[redacted]\3", body[:MAX_PARKED])
    if redacted:
        return clean[:MAX_PARKED], "a secret was redacted"
    if len(body) > MAX_PARKED:
        return clean, f"the body was cut at {MAX_PARKED} octets"
    return clean, None
