"""Requests to the endpoint under test: with VAPID, with an API key, and invalid ones."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDictProxy

from aoi_events.endpoint.api_keys import hash_key
from tests.support.limits import WITHIN
from tests.support.system import System

AES128GCM = {"Content-Encoding": "aes128gcm"}


@dataclass
class Sender:
    """An Application Server with a VAPID key of its own."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def key(self) -> str:
        """Its public key, as subscriptions name it."""
        octets = self.private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        return urlsafe_b64encode(octets).decode().rstrip("=")

    def token(self, **claims: Any) -> str:
        """A signed token with these claims; None leaves one out."""
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.private, algorithm="ES256")


@dataclass(frozen=True)
class Reply:
    """A response of the endpoint."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def errno(self) -> int | None:
        """The number of the error."""
        number: int | None = self.json["errno"]
        return number


@dataclass
class ServerUnderTest:
    """An installation with an endpoint."""

    system: System
    http: aiohttp.ClientSession

    @staticmethod
    def api_key(name: str = "shop") -> str:
        """The API key of that name."""
        return f"aoi_{name:x<64}"

    @classmethod
    def api_keys(cls) -> dict[str, str]:
        """The hashes of the API keys, for the settings."""
        return {name: hash_key(cls.api_key(name)) for name in ("shop", "bank")}

    @property
    def port(self) -> int:
        """The port of the endpoint."""
        return self.system.installation.endpoint.port

    @property
    def url(self) -> str:
        """The URL of the endpoint, by address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        """The origin of the endpoint."""
        return self.system.installation.endpoint.origin

    def vapid(self, sender: Sender, **changes: Any) -> dict[str, str]:
        """Valid credentials, except for the changes."""
        exp = int(self.system.clock.now().timestamp()) + 3600
        claims = {"aud": self.origin, "exp": exp, "sub": "mailto:ops@example.org"} | changes
        return {"Authorization": f"vapid t={sender.token(**claims)}, k={sender.key}"}

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        data: Any = None,
        json: Any = None,
    ) -> Reply:
        """Send one request."""
        url = path if path.startswith("http") else self.url + path
        async with (
            asyncio.timeout(WITHIN),
            self.http.request(
                method,
                url,
                headers=headers,
                data=data,
                json=json,
                skip_auto_headers=["Content-Type"],
            ) as response,
        ):
            return Reply(response.status, response.headers, await response.read())

    async def push(
        self, token: str, body: Any = b"\x00sealed", *, ttl: str | None = "60", **headers: str
    ) -> Reply:
        """``POST`` to the push resource of a token."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if ttl is not None:
            given["TTL"] = ttl
        if body and "Content-Encoding" not in given:
            given |= AES128GCM
        return await self.ask("POST", f"/wpush/v1/{token}", headers=given, data=body)

    async def api(self, method: str, path: str = "", *, key: str = "shop", **more: Any) -> Reply:
        """Send a request of the JSON API."""
        headers = {"Authorization": f"Bearer {self.api_key(key)}"} | more.pop("headers", {})
        return await self.ask(method, f"/v1/notifications{path}", headers=headers, **more)

    async def raw(self, octets: bytes, *, eof: bool = False) -> bytes:
        """Send octets, and return the endpoint's octets until it closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(octets)
            if eof:
                writer.write_eof()
            async with asyncio.timeout(WITHIN):
                return await reader.read()
        finally:
            writer.close()
