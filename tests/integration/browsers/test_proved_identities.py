"""A server that wants user identities proved: no browser can, and its pages hear of that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.testing import AoiServer
from tests.integration.browsers.browser import Browser


@pytest.fixture
def aoi_settings(tmp_path: Path) -> Mapping[str, Any]:
    """Registrations need an assertion of some issuer."""
    keys = tmp_path / "issuer.pem"
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    keys.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return {"policy": {"identity_keys": str(keys), "identity_audience": "push.example.org"}}


async def test_a_page_cannot_subscribe(aoi: AoiServer, stack: AsyncExitStack) -> None:
    """403 to each page, and the connection stays: the browser does not come again and again."""
    browser = Browser(aoi.gateway_url, stack)
    await browser.open()
    for _ in range(2):
        reply = await browser.register()
        assert (reply["status"], reply["pushEndpoint"]) == (403, "")
    await browser.ping()
