"""A Web Push library as it is: pywebpush encrypts, signs and sends; the device can read it."""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid01, Vapid02
from pywebpush import WebPushException, webpush

from aoi_events.contracts.envelopes import DeliverItem
from tests.integration.endpoint.server_under_test import Sender, ServerUnderTest
from tests.integration.services.conftest import BOTH


class Browser:
    """The browser's side of a subscription."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)

    def subscription(self, endpoint: str) -> dict[str, Any]:
        """The subscription as a page gets it."""
        point = self.private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        return {"endpoint": endpoint, "keys": {"p256dh": _text(point), "auth": _text(self.auth)}}

    def read(self, item: DeliverItem) -> bytes:
        """The content that was sent."""
        encryption = item.content.encryption
        assert encryption is not None
        more: dict[str, Any] = {}
        if encryption.coding == "aesgcm":
            salt, key = str(encryption.encryption), str(encryption.crypto_key)
            more = {"salt": _octets(salt, "salt"), "dh": _octets(key, "dh")}
        content: bytes = http_ece.decrypt(
            item.content.octets(),
            private_key=self.private,
            auth_secret=self.auth,
            version=encryption.coding,
            **more,
        )
        return content


def _text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _octets(header: str, name: str) -> bytes:
    (text,) = [part.partition("=")[2] for part in header.split(";") if part.startswith(name + "=")]
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@BOTH
@pytest.mark.parametrize(
    "coding, vapid", [("aes128gcm", Vapid02), ("aesgcm", Vapid02), ("aesgcm", Vapid01)]
)
async def test_pywebpush(server: ServerUnderTest, coding: str, vapid: type[Vapid01]) -> None:
    """A subscription that is bound to its key, in both encryptions and both forms of VAPID: what
    was sent is what the device reads; a stranger is told 403, and its sender 410 after the end.
    """
    system = server.system
    system.clock.advance((datetime.now(UTC) - system.clock.now()).total_seconds())
    browser, sender, stranger = Browser(), Sender(), Sender()
    node = await system.node()
    device = await system.client()
    await device.register_app("webpush", sender_key=sender.key)
    await device.activate("websocket")
    await node.connect(device)
    subscription = browser.subscription(f"{server.origin}/wpush/v1/{device.token}")

    def send(who: Sender) -> int:
        key = vapid(who.private)
        response = webpush(
            subscription,
            "Your parcel is here",
            vapid_private_key=key,
            vapid_claims={"sub": "mailto:ops@example.org"},
            content_encoding=coding,
            ttl=60,
        )
        status: int = response.status_code
        return status

    assert await asyncio.to_thread(send, sender) == 201
    assert browser.read(await node.next_delivery()) == b"Your parcel is here"
    for who, status in ((stranger, 403), (sender, 410)):
        if status == 410:
            await device.ask("application.deregister", application="webpush", sequence=9)
        with pytest.raises(WebPushException) as refused:
            await asyncio.to_thread(send, who)
        assert refused.value.response is not None
        assert refused.value.response.status_code == status
