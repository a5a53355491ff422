"""VAPID: keys and tokens that identify the sender of a Web Push (RFC 8292)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    # Loaded where keys are used: every command reads the settings, and few have a key in them.
    from cryptography.hazmat.primitives.asymmetric import ec

VapidKey: TypeAlias = "ec.EllipticCurvePrivateKey"

_PRIVATE_OCTETS: Final = 32
_TOKEN_LIFETIME: Final = timedelta(hours=12)
"""How long a token is valid; RFC 8292, section 2 allows a day, and clocks differ."""


def read_key(text: str) -> VapidKey:
    """Read a P-256 private key from base64url. Raises ValueError, whose text omits the key."""
    octets = decoded(text)
    if octets is None or len(octets) != _PRIVATE_OCTETS:
        raise ValueError("base64url of 32 octets; `aoi keys vapid` makes one")
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        return ec.derive_private_key(int.from_bytes(octets, "big"), ec.SECP256R1())
    except ValueError:
        raise ValueError("no P-256 private key; `aoi keys vapid` makes one") from None


def new_key() -> tuple[str, str]:
    """A new private key and its public key, in the form of the settings."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    number = key.private_numbers().private_value
    return encoded(number.to_bytes(_PRIVATE_OCTETS, "big")), public_text(key)


def public_text(key: VapidKey) -> str:
    """The public key: base64url of the uncompressed point (RFC 8292, section 3.2)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return encoded(point)


def authorization(key: VapidKey, endpoint: str, contact: str | None, now: datetime) -> str:
    """The ``Authorization`` of a push to ``endpoint`` (RFC 8292, section 3)."""
    import jwt

    parts = urlsplit(endpoint)
    claims: dict[str, str | int] = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + _TOKEN_LIFETIME).timestamp()),
    }
    if contact is not None:
        claims["sub"] = contact
    token = jwt.encode(claims, key, algorithm="ES256")
    return f"vapid t={token}, k={public_text(key)}"


def encoded(octets: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decoded(text: str) -> bytes | None:
    """The octets in base64url, padded or not; None for anything else."""
    bare = text.rstrip("=")
    try:
        octets = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if encoded(octets) == bare else None
