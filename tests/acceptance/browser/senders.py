"""Application Servers that are not ours: pywebpush, and npm's web-push."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pywebpush import WebPushException, webpush

from tests.support.limits import WITHIN

_HERE: Final = Path(__file__).parent
_SUBJECT: Final = "mailto:push@example.org"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


class VapidKey:
    """A key pair of an Application Server."""

    def __init__(self) -> None:
        pair = ec.generate_private_key(ec.SECP256R1())
        self.private: Final = _base64url(pair.private_numbers().private_value.to_bytes(32))
        self.public: Final = _base64url(
            pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        )


@dataclass(frozen=True)
class Sent:
    """What the push service answered."""

    status: int
    location: str | None
    body: str


class Sender(Protocol):
    """Encrypts a text for a subscription, and sends it."""

    async def send(
        self,
        subscription: Mapping[str, Any],
        text: str,
        *,
        ttl: int = 600,
        topic: str | None = None,
        coding: str = "aes128gcm",
    ) -> Sent:
        """Send it; what was answered."""


class PythonSender:
    """pywebpush. ``authority``: the certificate that vouches for the push service, if any does."""

    def __init__(self, key: VapidKey | None, authority: Path | None = None) -> None:
        self._key = key
        self._authority = authority

    async def send(
        self,
        subscription: Mapping[str, Any],
        text: str,
        *,
        ttl: int = 600,
        topic: str | None = None,
        coding: str = "aes128gcm",
    ) -> Sent:
        """Send it with pywebpush."""
        return await asyncio.to_thread(self._send, dict(subscription), text, ttl, topic, coding)

    def _send(
        self,
        subscription: dict[str, Any],
        text: str,
        ttl: int,
        topic: str | None,
        coding: Any,
    ) -> Sent:
        with requests.Session() as session:
            session.trust_env = False
            if self._authority is not None:
                session.verify = str(self._authority)
            try:
                response = webpush(
                    subscription,
                    text,
                    vapid_private_key=None if self._key is None else self._key.private,
                    vapid_claims=None if self._key is None else {"sub": _SUBJECT},
                    content_encoding=coding,
                    headers={} if topic is None else {"Topic": topic},
                    ttl=ttl,
                    timeout=WITHIN,
                    requests_session=session,
                )
            except WebPushException as error:
                if error.response is None:
                    raise
                response = error.response
        return Sent(response.status_code, response.headers.get("Location"), response.text)


class NodeSender:
    """npm's web-push, in a process of its own for each message; it speaks TLS only."""

    def __init__(self, key: VapidKey, authority: Path) -> None:
        self._key = key
        self._authority = authority

    async def send(
        self,
        subscription: Mapping[str, Any],
        text: str,
        *,
        ttl: int = 600,
        topic: str | None = None,
        coding: str = "aes128gcm",
    ) -> Sent:
        """Send it with web-push."""
        order = {
            "subscription": dict(subscription),
            "payload": text,
            "ttl": ttl,
            "topic": topic,
            "coding": coding,
            "vapid": {
                "subject": _SUBJECT,
                "publicKey": self._key.public,
                "privateKey": self._key.private,
            },
        }
        process = await asyncio.create_subprocess_exec(
            "node",
            str(_HERE / "send.js"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(self._authority)},
        )
        async with asyncio.timeout(WITHIN):
            out, err = await process.communicate(json.dumps(order).encode())
        assert process.returncode == 0, f"{err.decode()} (run compose/browser)"
        answer = json.loads(out)
        return Sent(answer["status"], answer.get("location"), answer["body"])
