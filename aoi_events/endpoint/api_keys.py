"""API keys: generation, hashes, and comparison in constant time.

A plain hash is enough, because a key has 256 random bits and cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

_PREFIX: Final = "aoi_"
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]{16,200}=*)", re.IGNORECASE)


def new_key(random_hex: str) -> str:
    """A key of 256 random bits; its prefix lets scanners for leaked secrets find it."""
    return _PREFIX + random_hex


def hash_key(key: str) -> str:
    """The hash of a key, as the settings contain it."""
    return hashlib.sha256(key.encode()).hexdigest()


def bearer_of(authorization: str) -> str | None:
    """The key in an ``Authorization`` header (RFC 6750, section 2.1), if there is one."""
    match = _BEARER.fullmatch(authorization.strip())
    return match[1] if match is not None else None


def name_of(key: str, hashes: Mapping[str, str]) -> str | None:
    """The name of a key; all hashes are compared, so that the time reveals nothing."""
    digest = hash_key(key)
    found = None
    for name, known in hashes.items():
        if hmac.compare_digest(digest, known):
            found = name
    return found
