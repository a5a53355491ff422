"""Signed assertions of identities: what proves one, and everything that does not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
from aoi_events.services.registration.identity_assertions import AssertionCheck, identity_keys
from tests.support.instant import INSTANT as NOW
from tests.support.strategies import near_misses

ANN = "tel:+15550100"
OURS = "https://push.example.org"

P256 = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
ISSUERS: dict[str, Any] = {"ES256": P256, "EdDSA": ED, "RS256": RSA}


def pem(*keys: Any) -> bytes:
    """Public keys as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return b"".join(key.public_key().public_bytes(serialization.Encoding.PEM, form) for key in keys)


def jwks(**ids: Any) -> bytes:
    """Public keys as a JWKS, each under its ID."""
    forms: dict[type[Any], Any] = {
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
        rsa.RSAPrivateKey: RSAAlgorithm,
    }
    keys = []
    for kid, key in ids.items():
        (form,) = (made for kind, made in forms.items() if isinstance(key, kind))
        keys.append(json.loads(form.to_jwk(key.public_key())) | {"kid": kid})
    return json.dumps({"keys": keys}).encode()


CHECK = AssertionCheck(identity_keys(pem(P256, ED, RSA), "keys.pem"), OURS)


def signed(algorithm: str = "ES256", key: Any = None, kid: str | None = None, **claims: Any) -> str:
    """An assertion that is good for Ann for a minute, unless its claims say otherwise."""
    body = {"sub": ANN, "aud": OURS, "exp": NOW.timestamp() + 60} | claims
    body = {name: value for name, value in body.items() if value is not None}
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(body, key or ISSUERS[algorithm], algorithm, headers=headers)


def refused(assertion: str | None, identity: str = ANN, now: datetime = NOW) -> str:
    """Why it is; never with what was sent."""
    with pytest.raises(Refusal) as told:
        CHECK.check(assertion, identity, now)
    assert (told.value.code, told.value.field) == (ErrorCode.IDENTITY_UNPROVED, "assertion")
    assert not assertion or len(assertion) < 32 or assertion not in str(told.value)
    return told.value.message


@pytest.mark.parametrize("algorithm", sorted(ISSUERS))
def test_a_good_assertion_proves_its_subject(algorithm: str) -> None:
    """An assertion that is signed with one of the keys, for us, and not expired proves its subject,
    and no other.
    """
    assertion = signed(algorithm)
    CHECK.check(assertion, ANN, NOW)
    for other in ("tel:+15550101", *near_misses(ANN)):
        assert "another user" in refused(assertion, other)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW.timestamp() - 31},
        {"exp": NOW.timestamp() - 30},
        {"exp": None},
        {"exp": True},
        {"exp": "tomorrow"},
        {"exp": 10**400},
        {"nbf": NOW.timestamp() + 31},
        {"nbf": "now"},
        {"aud": "https://elsewhere.example"},
        {"aud": f"{OURS}.elsewhere.example"},
        {"aud": OURS[:-1]},
        {"aud": None},
        {"aud": []},
        {"sub": None},
        {"sub": 1},
        {"sub": ""},
    ],
    ids=str,
)
def test_what_is_missing_or_wrong_proves_nothing(claims: dict[str, Any]) -> None:
    """Each claim is needed, in its form, and its time is the installation's, not the machine's."""
    refused(signed(**claims))


def test_clocks_may_differ_a_little() -> None:
    """Half a minute either way."""
    CHECK.check(signed(exp=NOW.timestamp() - 29), ANN, NOW)
    CHECK.check(signed(nbf=NOW.timestamp() + 29), ANN, NOW)
    refused(signed(), now=NOW + timedelta(hours=1))


def test_other_keys_and_algorithms_prove_nothing() -> None:
    """A stranger's key, no signature, the public key as a shared secret, another hash."""
    assert "no key" in refused(signed(key=ec.generate_private_key(ec.SECP256R1())))
    refused(signed("RS512", RSA))
    refused(signed("PS256", RSA))
    refused(signed("HS256", b"k" * 32))
    refused(
        jwt.encode({"sub": ANN, "aud": OURS, "exp": NOW.timestamp() + 60}, "", algorithm="none")
    )
    head, body, _ = signed("RS256").split(".")
    refused(f"{head}.{body}.")
    refused(None)


@given(st.text(max_size=200) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]+", fullmatch=True))
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    """Whatever it is, the answer is a refusal."""
    refused(text)


def test_a_key_that_is_named_is_the_one() -> None:
    """Keys of a JWKS are taken by ``kid`` where an assertion names one."""
    check = AssertionCheck(identity_keys(jwks(one=P256, two=ED), "keys.json"), OURS)
    check.check(signed(kid="one"), ANN, NOW)
    check.check(signed("EdDSA", kid="two"), ANN, NOW)
    check.check(signed("EdDSA"), ANN, NOW)
    with pytest.raises(Refusal):
        check.check(signed(kid="two"), ANN, NOW)
    CHECK.check(signed(kid="one"), ANN, NOW)  # keys without IDs may be any


PRIVATE = P256.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b'{"keys": []}',
        b'{"keys": [1]}',
        b'{"keys": [{}]}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(P256))]}).encode(),
        PRIVATE,
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - it is refused
        pem(P256)[:60] + b"-----END PUBLIC KEY-----",
    ],
)
def test_a_file_that_cannot_be_used_is_told(text: bytes) -> None:
    """What it is and what to give instead, and nothing of the file."""
    with pytest.raises(ConfigurationError, match=r"keys\.any") as told:
        identity_keys(text, "keys.any")
    assert "c2VjcmV0" not in str(told.value)
