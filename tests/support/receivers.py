"""The other side of the channels over HTTP: a receiver on loopback that a test scripts."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import http_ece
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.channels.webpush.vapid import encoded
from aoi_events.domain.clients.channels import Parameters
from tests.support.limits import WITHIN

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class Reply:
    """How a receiver answers one request: ``after`` so many seconds; ``silent``: not at all."""

    status: int = 201
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    silent: bool = False
    after: float = 0.0


@dataclass(frozen=True)
class Got:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    """The sender's port: equal for requests over one connection."""


class Receiver:
    """Use as ``async with Receiver() as receiver``; ``got`` is everything that came.

    Requests that :meth:`script` leaves are answered ``by_path``, and all others by ``default``.
    """

    def __init__(
        self,
        default: Reply | None = None,
        *,
        host: str = _HOST,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.default = default or Reply()
        self.by_path: Final[dict[str, Reply]] = {}
        self.got: Final[list[Got]] = []
        self.host = host
        self.port = port
        self._tls = tls
        self._script: Final[deque[Reply]] = deque()
        self._changed: Final = asyncio.Condition()
        self._released: Final = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._released.set()
        await self.go_down()

    def url(self, path: str = "/") -> str:
        """Where to send."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self.host}:{self.port}{path}"

    def script(self, *replies: Reply) -> None:
        """Answer the next requests so, in the order of their arrival."""
        self._script.extend(replies)

    async def next(self, number: int) -> Got:
        """Request ``number``, from 0, as soon as it came. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(lambda: len(self.got) > number)
            return self.got[number]

    async def go_down(self) -> None:
        """Stop listening and cut every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def come_back(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        await web.TCPSite(
            runner, self.host, self.port, reuse_address=True, ssl_context=self._tls
        ).start()
        self.port = runner.addresses[0][1]
        self._runner = runner

    def _standing(self, path: str) -> Reply:
        return self.by_path.get(path, self.default)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[1]
        async with self._changed:
            self.got.append(Got(request.path_qs, dict(request.headers), body, peer))
            self._changed.notify_all()
        reply = self._script.popleft() if self._script else self._standing(request.path)
        if reply.silent:
            await self._released.wait()
        if reply.after:
            await asyncio.sleep(reply.after)
        return web.Response(status=reply.status, headers=dict(reply.headers), body=reply.body)


class Subscription:
    """A device's keys for Web Push, with which it reads what was pushed to it."""

    def __init__(self) -> None:
        self._key: Final = ec.generate_private_key(ec.SECP256R1())
        self._auth: Final = os.urandom(16)

    def parameters(self, endpoint: str) -> Parameters:
        """What the device offers."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"endpoint": endpoint, "p256dh": encoded(point), "auth": encoded(self._auth)}

    def read(self, body: bytes) -> bytes:
        """The plaintext of a push. Raises ECEException for one that is not for this device."""
        plaintext: bytes = http_ece.decrypt(
            body, private_key=self._key, auth_secret=self._auth, version="aes128gcm"
        )
        return plaintext
