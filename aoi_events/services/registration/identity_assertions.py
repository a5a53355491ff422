"""Signed assertions of user identities, for operators that require proof of identities.

An assertion is a JWT (RFC 7519) whose ``sub`` is the user identity, for our ``aud``, with an
``exp``; signed with a key of the operator's identity provider. The operator names the keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from aoi_events.errors import ConfigurationError, ErrorCode, Refusal

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_LEEWAY: Final = 30.0
"""Seconds by which the clocks of the issuer and ours may differ."""
_END_OF_TIME: Final = 1e12
_LEAST_RSA: Final = 2048
_PEM: Final = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """A public key, the only algorithm that it is used with, and its ID if it has one."""

    key: PublicKey
    algorithm: str
    id: str | None = None


@dataclass(slots=True)
class AssertionCheck:
    """Checks assertions for ``audience`` against the operator's keys, which may be replaced."""

    keys: Sequence[IdentityKey]
    audience: str

    def check(self, assertion: str | None, identity: str, now: datetime) -> None:
        """Check an assertion. Raises Refusal (identity_unproved) unless it proves
        ``identity`` now.
        """
        if assertion is None:
            raise _refusal("this server wants a signed assertion of the user identity")
        claims = self._claims(assertion)
        if claims.get("sub") != identity:
            raise _refusal("the assertion is of another user identity ('sub')")
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        at = now.timestamp()
        if not _is_time(expires) or at >= expires + _LEEWAY:
            raise _refusal("the assertion has expired, or says no time ('exp'); get a new one")
        if not _is_time(begins) or at < begins - _LEEWAY:
            raise _refusal("the assertion is not valid yet ('nbf')")

    def _claims(self, assertion: str) -> dict[str, Any]:
        """The claims of an assertion with a valid signature and audience."""
        try:
            named = jwt.get_unverified_header(assertion).get("kid")
        except (jwt.InvalidTokenError, ValueError):
            raise _refusal("the assertion is no signed JWT (RFC 7519)") from None
        for key in self.keys:
            if named is not None and key.id is not None and key.id != named:
                continue
            try:
                claims: dict[str, Any] = jwt.decode(
                    assertion,
                    key.key,
                    algorithms=[key.algorithm],
                    audience=self.audience,
                    # The times are for `check`: its clock is the installation's.
                    options={
                        "require": ["exp", "sub", "aud"],
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
            except jwt.InvalidAudienceError:
                raise _refusal("the assertion is for another audience ('aud')") from None
            except (jwt.InvalidTokenError, ValueError):
                raise _refusal(
                    "the assertion cannot be used; it needs 'sub', 'aud' and 'exp'"
                ) from None
            return claims
        raise _refusal("no key of this server's settings has signed the assertion")


def identity_keys(text: bytes, name: str) -> tuple[IdentityKey, ...]:
    """The public keys in a JWKS (RFC 7517) or PEM file called ``name``: P-256, Ed25519, or RSA of
    at least 2,048 bits. Raises ConfigurationError, also for a private key: it is the issuer's.
    """
    found = tuple(_of_pem(text, name) if b"-----BEGIN" in text else _of_jwks(text, name))
    if not found:
        raise ConfigurationError(f"{name} holds no public key; give a JWKS, or PEM")
    return found


def _of_pem(text: bytes, name: str) -> Iterable[IdentityKey]:
    for block in _PEM.findall(text):
        try:
            key = load_pem_public_key(block)
        except ValueError:
            raise ConfigurationError(
                f"{name} holds something that is no public key in PEM; "
                "private keys stay with the issuer"
            ) from None
        yield _usable(key, None, name)


def _of_jwks(text: bytes, name: str) -> Iterable[IdentityKey]:
    try:
        keys = json.loads(text)["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise TypeError("no list of keys")
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f'{name} is neither PEM nor a JWKS ({{"keys": […]}}, RFC 7517)'
        ) from None
    for entry in keys:
        if "d" in entry or "k" in entry:
            raise ConfigurationError(
                f"{name} holds a private or a shared key; private keys stay with the issuer"
            )
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{name} holds a key that cannot be read") from None
        yield _usable(key, entry.get("kid"), name)


def _usable(key: object, named: object, name: str) -> IdentityKey:
    known = named if isinstance(named, str) else None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return IdentityKey(key, "ES256", known)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return IdentityKey(key, "EdDSA", known)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA:
        return IdentityKey(key, "RS256", known)
    raise ConfigurationError(
        f"{name} holds a key of a kind that is not used here; use P-256 (ES256), Ed25519 (EdDSA), "
        f"or RSA of at least {_LEAST_RSA} bits (RS256)"
    )


def _is_time(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < _END_OF_TIME


def _refusal(why: str) -> Refusal:
    return Refusal(ErrorCode.IDENTITY_UNPROVED, why, field="assertion")
