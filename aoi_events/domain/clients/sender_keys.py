"""Keys of senders: parsing a public key, and whether a sender may send to a token."""

from __future__ import annotations

from base64 import urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric import ec

from aoi_events.contracts.senders import vapid_sender
from aoi_events.errors import ErrorCode, Refusal


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """The P-256 key behind a ``SenderKey`` (RFC 8292, section 3.2). Raises Refusal (invalid)."""
    try:
        octets = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
    except ValueError:
        raise Refusal(
            ErrorCode.INVALID,
            "the key is no point of the curve P-256; send the 65 octets of the uncompressed public "
            "key in base64url",
            field="sender_key",
        ) from None


def may_send(sender: str, sender_key: str | None) -> bool:
    """Whether ``sender`` may send to a token that is bound to that key (None: to no key)."""
    return sender_key is None or sender == vapid_sender(sender_key)
