"""VAPID: verifies the signature by which a sender proves its key (RFC 8292 and its draft).

Pure except for a cache of verified tokens: verifying one takes a tenth of a millisecond, and
senders use a token for hours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import jwt
from pydantic import TypeAdapter, ValidationError

from aoi_events.contracts.identifiers import SenderKey, base64url
from aoi_events.domain.clients.sender_keys import public_key
from aoi_events.endpoint.refusals import BAD_AUTHORIZATION, HttpRefusal
from aoi_events.errors import ErrorCode, Refusal

LONGEST: Final = 24 * 3600
"""Seconds that a token may be valid for at most, from now on (RFC 8292, section 2)."""
LEEWAY: Final = 60
"""Seconds by which the clock of a sender may be wrong, in both directions."""
CHALLENGE: Final = "vapid"
_LARGEST: Final = 4_096
_AT_ONCE: Final = 1_024

_sender_key = TypeAdapter(SenderKey)
_PART: Final = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*"?([A-Za-z0-9._~+/=-]*)"?\s*')
_OLD: Final = ("webpush", "bearer")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token that are checked."""

    audiences: frozenset[str]
    expires: float


def missing() -> HttpRefusal:
    """The refusal of a push without the credentials that it needs (RFC 8292, section 4.2)."""
    return HttpRefusal(
        HTTPStatus.UNAUTHORIZED,
        ErrorCode.UNAUTHENTICATED,
        "this subscription takes messages of the application server only that it was made for; "
        "send VAPID credentials (RFC 8292)",
        errno=BAD_AUTHORIZATION,
        challenge=CHALLENGE,
    )


def invalid(message: str) -> HttpRefusal:
    """The refusal of a push with wrong credentials (RFC 8292, section 4.2)."""
    return HttpRefusal(
        HTTPStatus.FORBIDDEN,
        ErrorCode.NOT_ALLOWED,
        f"the VAPID credentials are not valid: {message}",
        errno=BAD_AUTHORIZATION,
    )


def proved_key(
    authorization: Sequence[str], crypto_key: Sequence[str], *, origin: str, now: float
) -> str | None:
    """The key that the sender proved; None without credentials.

    ``authorization`` and ``crypto_key`` are the values of these header fields, ``now`` is in
    seconds since 1970. Raises HttpRefusal (403) for credentials that are wrong.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        raise invalid("send one Authorization header")
    scheme, _, rest = authorization[0].strip().partition(" ")
    if len(rest) > _LARGEST:
        raise invalid(f"they have more than {_LARGEST} characters")
    scheme = scheme.lower()
    if scheme == "vapid":
        parts = _parts(rest, ",")
        token, key = parts.get("t"), parts.get("k")
    elif scheme in _OLD:
        token, key = rest.strip(), _old_key(crypto_key)
    else:
        raise invalid("use the scheme vapid, as in `vapid t=…, k=…`")
    if not token or not key:
        raise invalid("both the signed token (t) and the public key (k) are needed")
    key = base64url(key)
    claims = _verified(token, key)
    if origin not in claims.audiences:
        raise invalid(f"aud must be {origin}")
    if claims.expires <= now - LEEWAY:
        raise invalid("exp has passed")
    if claims.expires > now + LONGEST + LEEWAY:
        raise invalid("exp may be at most 24 hours ahead")
    return key


def _old_key(crypto_key: Sequence[str]) -> str | None:
    """The key by the draft: ``Crypto-Key: p256ecdsa=…``, perhaps among other parameters."""
    for header in crypto_key:
        for entry in header.split(","):
            if (key := _parts(entry, ";").get("p256ecdsa")) is not None:
                return key
    return None


def _parts(text: str, separator: str) -> dict[str, str]:
    """The ``name=value`` pairs in a text; anything else is ignored."""
    matches = (_PART.fullmatch(part) for part in text.split(separator))
    return {match[1].lower(): match[2] for match in matches if match is not None}


@lru_cache(_AT_ONCE)
def _verified(token: str, key: str) -> Claims:
    """Verify a token, and return its claims. Raises HttpRefusal, which is not cached."""
    try:
        _sender_key.validate_python(key)
        point = public_key(key)
    except (ValidationError, Refusal):
        raise invalid("k is no uncompressed point of P-256 in base64") from None
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            point,
            algorithms=["ES256"],
            # The caller checks audience and time on each request, so that the rest can be cached.
            options={
                "verify_aud": False,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise invalid("the token is no JWT that this key signed with ES256") from None
    return Claims(_audiences(claims.get("aud")), _expiry(claims.get("exp")))


def _audiences(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise invalid("aud must be the origin of this push service")
    return frozenset(values)


def _expiry(value: Any) -> float:
    """The expiry in seconds since 1970, bounded. Raises HttpRefusal when it is no number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and math.isnan(value)):
        raise invalid("exp must be a number of seconds since 1970")
    return float(min(max(value, 0), 2**53))
