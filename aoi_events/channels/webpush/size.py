"""How much content fits one push."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Final

from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.contracts.push import PushedNotification

LARGEST_PLAINTEXT: Final = 3_993
"""Octets that fit the 4,096 which every push service takes (RFC 8291, section 4)."""


def measure(content: Content) -> int:
    """Octets that content takes inside a push: its JSON form, with type and encoding."""
    return len(content.encode())


@cache
def largest_content() -> int:
    """Octets of content that fit one push, as :func:`measure` counts them: what is left beside the
    largest possible values of all other fields.
    """
    empty = Content(data="")
    push = PushedNotification(
        delivery=base32_id("dlv_", bytes(16)),
        attempt=2**31,
        fingerprint=base32_id("fp_", bytes(8)),
        urgency=Urgency.VERY_LOW,
        expires_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        content=empty,
    )
    return LARGEST_PLAINTEXT - len(push.encode()) + measure(empty)
