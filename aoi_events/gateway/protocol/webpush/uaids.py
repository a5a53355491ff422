"""The ``uaid`` of a browser: one opaque text that contains the AOI Client ID and its secret.

A browser stores nothing else, and sends it in each hello. It contains the secret because the ID
alone would allow anybody who learns it to read the user's notifications. Never log a ``uaid``.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from aoi_events.contracts.identifiers import ClientId, ClientSecret, base32_id, id_octets

_UAID: Final = re.compile(r"[A-Za-z0-9_-]{64}")
_ID: Final = 16
"""Octets of an ID; the secret's 32 follow."""


def secret_text(octets: bytes) -> ClientSecret:
    """Encode 32 random octets as the secret of an AOI Client."""
    return urlsafe_b64encode(octets).decode().rstrip("=")


def write_uaid(client: ClientId, secret: ClientSecret) -> str:
    """Encode the ``uaid`` of a client: 64 characters."""
    return urlsafe_b64encode(id_octets(client) + urlsafe_b64decode(secret + "=")).decode()


def read_uaid(text: str | None) -> tuple[ClientId, ClientSecret] | None:
    """Decode the client and the secret in a ``uaid``; None when it is no ``uaid`` of ours."""
    if text is None or not _UAID.fullmatch(text):
        return None
    octets = urlsafe_b64decode(text)
    return base32_id("cli_", octets[:_ID]), secret_text(octets[_ID:])
