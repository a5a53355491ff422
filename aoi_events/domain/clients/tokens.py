"""Application Client Tokens: opaque, unguessable, unlinkable, the same on every repeat.

A token is the key's ID, a dot, and the deterministic authenticated encryption (AES-SIV, RFC 5297)
of client, app instance and generation. So a repeat gives the same token, a forgery is rejected
without a look-up, and two tokens of one device have nothing in common that others could see.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from aoi_events.contracts.identifiers import base32_id, id_octets
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal

_DOMAIN = b"aoi-events token v1"
_KEY_ID = re.compile(r"[A-Za-z0-9]{1,16}")
_SEALED = 16 + 36
"""Octets: the synthetic IV, then client, app instance and generation."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The content of a token: a client, an app instance (by its key), and the generation."""

    client: str
    app_key: str
    generation: int


def app_key_of(application: str, instance: str) -> str:
    """The ID of an app instance: 128 bits in hexadecimal, for names of any length."""
    return hashlib.sha256(f"{application}\0{instance}".encode()).hexdigest()[:32]


def fingerprint_of(token: str) -> str:
    """A public name of a token: the first 64 bits of its SHA-256."""
    return base32_id("fp_", hashlib.sha256(token.encode()).digest()[:8])


def delivery_id_of(sender: str, notification: str, token: str) -> str:
    """The ID of the delivery of one notification to one token."""
    digest = hashlib.sha256(f"{sender}\0{notification}\0{token}".encode()).digest()
    return base32_id("dlv_", digest[:16])


class TokenKeys:
    """The server's keys for tokens, by ID; the first one issues, all of them verify.

    Keys are 64 octets (two AES-256 keys, RFC 5297, section 2.6). Raises ConfigurationError.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ConfigurationError("no token key: set AOI_TOKEN_KEYS to at least one 'id:key'")
        for key_id, key in keys.items():
            if not key_id.isalnum() or len(key_id) > 16:
                raise ConfigurationError(
                    f"token key ID {key_id!r}: use up to 16 letters and digits"
                )
            if len(key) != 64:
                raise ConfigurationError(f"token key {key_id!r} has {len(key)} octets; it needs 64")
        # Loaded with keys only: commands and gateways that have none do without it.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._ciphers = {key_id: AESSIV(key) for key_id, key in keys.items()}
        self.issuing = next(iter(keys))

    def replace(self, keys: TokenKeys) -> None:
        """Use these keys from now on."""
        self._ciphers, self.issuing = keys._ciphers, keys.issuing

    @property
    def ids(self) -> tuple[str, ...]:
        """The IDs of all keys, the issuing one first."""
        return tuple(self._ciphers)

    def issue(self, claims: TokenClaims, key_id: str | None = None) -> str:
        """The token for ``claims`` under the issuing key, or the key that issued it before."""
        key_id = key_id or self.issuing
        plain = (
            id_octets(claims.client)
            + bytes.fromhex(claims.app_key)
            + claims.generation.to_bytes(4, "big")
        )
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigurationError(
                f"token key {key_id!r} is still in use but not in AOI_TOKEN_KEYS; put it back"
            )
        sealed = cipher.encrypt(plain, [_DOMAIN])
        return f"{key_id}.{urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def require(self, key_id: str) -> None:
        """Raises Refusal (unavailable) when this process does not have the key (yet)."""
        if key_id not in self._ciphers:
            raise Refusal(
                ErrorCode.UNAVAILABLE, f"this worker has no token key {key_id!r} (yet); ask again"
            )

    def verify(self, token: str) -> TokenClaims:
        """The claims of ``token``.

        Raises Refusal: token_forged, or unavailable for a token that seems to be made with a key
        that this process does not have (yet).
        """
        from cryptography.exceptions import InvalidTag

        key_id, _, text = token.partition(".")
        cipher = self._ciphers.get(key_id)
        sealed = _sealed(text)
        if cipher is None and sealed is not None and _KEY_ID.fullmatch(key_id):
            raise Refusal(
                ErrorCode.UNAVAILABLE,
                f"this server has no token key {key_id!r} (yet); if the token is right, send to it "
                "again later, as another notification",
            )
        try:
            plain = cipher.decrypt(sealed, [_DOMAIN]) if cipher and sealed else b""
        except InvalidTag:
            plain = b""
        if not plain:
            raise Refusal(
                ErrorCode.TOKEN_FORGED,
                "this server did not issue that token; use the one that the app received",
            )
        return TokenClaims(
            client=base32_id("cli_", plain[:16]),
            app_key=plain[16:32].hex(),
            generation=int.from_bytes(plain[32:], "big"),
        )


def _sealed(text: str) -> bytes | None:
    """The octets of a token's second part, or None if the text does not have the form of
    a token.
    """
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    # The text is compared too: base64 has several spellings of the same octets.
    same = urlsafe_b64encode(sealed).decode().rstrip("=") == text
    return sealed if same and len(sealed) == _SEALED else None
