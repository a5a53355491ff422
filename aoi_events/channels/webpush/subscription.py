"""The keys of a Web Push subscription, and encryption with them (RFC 8291)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aoi_events.channels.webpush.vapid import decoded, encoded

ENDPOINT: Final = "endpoint"
P256DH: Final = "p256dh"
AUTH: Final = "auth"

_POINT_OCTETS: Final = 65
_AUTH_OCTETS: Final = 16


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The device's public key, and the secret that it shares with its senders."""

    p256dh: bytes
    auth: bytes

    def parameters(self) -> dict[str, str]:
        """The keys as parameters of a channel, normalised."""
        return {P256DH: encoded(self.p256dh), AUTH: encoded(self.auth)}


def keys_of(parameters: Mapping[str, str | int | bool]) -> Keys | str:
    """The keys in a subscription's parameters, or the name of the invalid one."""
    from cryptography.hazmat.primitives.asymmetric import ec

    p256dh, auth = (_octets(parameters.get(name)) for name in (P256DH, AUTH))
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    except ValueError:
        return P256DH
    if len(p256dh) != _POINT_OCTETS:  # RFC 8291 allows no compressed points
        return P256DH
    return Keys(p256dh, auth) if len(auth) == _AUTH_OCTETS else AUTH


def encrypted(plaintext: bytes, keys: Keys) -> bytes:
    """``plaintext`` encrypted for the device: the body of a push with coding ``aes128gcm``."""
    import http_ece
    from cryptography.hazmat.primitives.asymmetric import ec

    body: bytes = http_ece.encrypt(
        plaintext,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=keys.p256dh,
        auth_secret=keys.auth,
        version="aes128gcm",
    )
    return body


def _octets(value: str | int | bool | None) -> bytes:
    return (decoded(value) if isinstance(value, str) else None) or b""
