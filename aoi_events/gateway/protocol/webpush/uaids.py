"""What a browser remembers of us: one opaque text that holds the AOI Client ID and its secret.

A browser keeps nothing else, and shows it when it comes back, so the ID alone would let whoever
learns it read the user's notifications. Whoever logs a ``uaid`` logs a secret.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from aoi_events.contracts.identifiers import ClientId, ClientSecret, base32_id, id_octets

__all__ = ["read_uaid", "secret_text", "write_uaid"]

_UAID: Final = re.compile(r"[A-Za-z0-9_-]{64}")
_ID: Final = 16
"""Octets of an ID; the secret's 32 follow."""


def secret_text(octets: bytes) -> ClientSecret:
    """32 random octets as the secret of an AOI Client."""
    return urlsafe_b64encode(octets).decode().rstrip("=")


def write_uaid(client: ClientId, secret: ClientSecret) -> str:
    """The ``uaid`` of a client: 64 characters."""
    return urlsafe_b64encode(id_octets(client) + urlsafe_b64decode(secret + "=")).decode()


def read_uaid(text: str | None) -> tuple[ClientId, ClientSecret] | None:
    """The client and secret in a ``uaid``; None when it is none of ours."""
    if text is None or not _UAID.fullmatch(text):
        return None
    octets = urlsafe_b64decode(text)
    return base32_id("cli_", octets[:_ID]), secret_text(octets[_ID:])
