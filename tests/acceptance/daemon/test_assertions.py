"""An AOI Server that wants user identities proved, and a daemon whose operator has the proof."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.acceptance.daemon.machine import IDENTITY, MAIL, Machine
from tests.support.limits import WITHIN

AUDIENCE = "push.example.org"
ISSUER = ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def aoi_settings(tmp_path: Path) -> Mapping[str, Any]:
    """Registrations need an assertion of this issuer."""
    keys = tmp_path / "issuer.pem"
    public = ISSUER.public_key()
    keys.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return {"policy": {"identity_keys": str(keys), "identity_audience": AUDIENCE}}


def assertion(identity: str) -> str:
    """A signed assertion of this identity."""
    claims = {"sub": identity, "aud": AUDIENCE, "exp": time.time() + 600}
    return jwt.encode(claims, ISSUER, "EdDSA")


async def test_an_identity_is_proved(machine: Machine, tmp_path: Path) -> None:
    """With the right file it registers, and again when both change; with a wrong one it says why,
    and a new one counts as soon as set-identity is said.
    """
    file = tmp_path / "assertion.jwt"
    file.write_text(assertion(IDENTITY) + "\n")
    machine.settings["AOI_CLIENT__ASSERTION_FILE"] = str(file)
    daemon = await machine.start()
    first = await machine.register(MAIL)
    other = "tel:+15550199"
    assert (await machine.cli("set-identity", other)).code == 0
    await daemon.until_logged("request_refused", within=WITHIN)
    assert "identity_unproved" in str((await machine.status()).trouble)
    file.write_text(assertion(other))
    assert (await machine.cli("set-identity", other)).code == 0
    await daemon.until_logged("registered", times=2, within=WITHIN)
    assert await machine.register(MAIL) != first
    file.write_text("no assertion")
    ran = await machine.cli("set-identity", other)
    assert ran.code != 0
    assert "holds no JWT" in ran.err


async def test_a_file_that_is_none_is_said_at_the_start(machine: Machine, tmp_path: Path) -> None:
    """Without a valid assertion file the daemon ends with 78."""
    daemon = await machine.spawn(assertion_file=str(tmp_path / "nothing.jwt"))
    assert await daemon.ended(within=WITHIN) == 78
    assert "nothing.jwt" in str(daemon.log)
