"""An AOI Server for one device on a real WebSocket, scripted by a test."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from aiohttp import WSCloseCode, WSMsgType, web

from aoi_events.contracts.device import (
    SUBPROTOCOL,
    AckFrame,
    DeviceFrame,
    HelloFrame,
    RequestFrame,
    device_frames,
)
from aoi_events.domain.clients.client import client_id_of, hash_secret
from tests.support.device_frames import delivery_id
from tests.support.observable import Observable

F = TypeVar("F", bound=DeviceFrame)


class ScriptedServer(Observable):
    """Registers clients and apps, and selects every offered channel.

    ``mute`` are request names that are never answered; ``answers`` replace the usual answers, by
    request name; ``unproved`` are channel types that are pending until they are confirmed.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._tls = tls
        self.frames: list[DeviceFrame] = []
        self.connections = 0
        self.mute: set[str] = set()
        self.unproved: set[str] = set()
        self.answers: dict[str, tuple[str, dict[str, Any]]] = {}
        self.refuse_hello: int | None = None
        self.silent = False
        self.protocols: tuple[str, ...] = (SUBPROTOCOL,)
        self.ping_every = 30.0
        self.ponged = asyncio.Event()
        self.pings = 0
        self._clients: dict[str, str] = {}
        self._offered: list[str] = []
        self._sequence = 0
        self._socket: web.WebSocketResponse | None = None
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._port = 0

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        if self._runner.server is None:
            await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        if not self._port:
            self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End everything."""
        await self.drop()
        await self._runner.cleanup()

    def sent(self, kind: type[F]) -> list[F]:
        """Frames of that kind that devices sent."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def requests(self, name: str) -> list[RequestFrame]:
        """Requests of that name."""
        return [frame for frame in self.sent(RequestFrame) if frame.name == name]

    async def acks(self, count: int) -> list[tuple[str, str, str | None]]:
        """Acknowledgements, as soon as there are so many: delivery, code, channel."""
        await self.until(lambda: len(self.sent(AckFrame)) >= count)
        return [(ack.delivery, ack.code, ack.channel) for ack in self.sent(AckFrame)]

    async def notify(self, number: int, token: str, data: str = "hello", attempt: int = 1) -> str:
        """Send a notification; its delivery's ID."""
        await self.send(
            {
                "type": "notification",
                "delivery": delivery_id(number),
                "attempt": attempt,
                "notification": f"n-{number}",
                "token": token,
                "application": "ignored",
                "instance": "ignored",
                "content": {"data": data},
                "urgency": "normal",
                "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
                "from_a_newer_server": True,
            }
        )
        return delivery_id(number)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame to the device that is connected."""
        assert self._socket is not None
        await self._socket.send_json(frame)

    async def send_text(self, text: str) -> None:
        """Send any text to the device that is connected."""
        assert self._socket is not None
        await self._socket.send_str(text)

    async def send_octets(self, octets: bytes) -> None:
        """Send a binary frame to the device that is connected."""
        assert self._socket is not None
        await self._socket.send_bytes(octets)

    async def ping(self) -> None:
        """Ping the device; ``ponged`` is set when it answers."""
        assert self._socket is not None
        await self._socket.ping(b"there?")

    async def close(self, code: int) -> None:
        """Close the session."""
        assert self._socket is not None
        await self._socket.close(code=code, message=b"by the test")

    async def drop(self) -> None:
        """Close the session, if there is one."""
        if self._socket is not None and not self._socket.closed:
            await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            protocols=self.protocols, compress=False, timeout=0.5, autoping=False
        )
        await socket.prepare(request)
        self._socket = socket
        self.connections += 1
        await self.wake()
        async for message in socket:
            if message.type is WSMsgType.PONG:
                self.ponged.set()
            if message.type is WSMsgType.PING and not self.silent:
                self.pings += 1
                await socket.pong(message.data)
                await self.wake()
            if message.type is WSMsgType.TEXT and not self.silent:
                frame = device_frames.validate_json(message.data)
                self.frames.append(frame)
                await self._react(socket, frame)
                await self.wake()
        return socket

    async def _react(self, socket: web.WebSocketResponse, frame: DeviceFrame) -> None:
        match frame:
            case HelloFrame():
                await self._greet(socket, frame)
            case RequestFrame() if frame.name not in self.mute:
                name, body = self.answers.get(frame.name) or self._answer(frame)
                answer = {"type": "answer", "id": frame.id, "name": name, "body": body}
                await socket.send_json(answer)
            case _:
                pass

    async def _greet(self, socket: web.WebSocketResponse, hello: HelloFrame) -> None:
        known = self._clients.get(hash_secret(hello.secret)) == hello.client
        if self.refuse_hello is not None or not known:
            await socket.close(code=self.refuse_hello or 4401)
            return
        await socket.send_json(
            {
                "type": "welcome",
                "client": hello.client,
                "session": "s1",
                "epoch": self.connections,
                "sequence": self._sequence,
                "ping_every": self.ping_every,
            }
        )

    def _answer(self, frame: RequestFrame) -> tuple[str, dict[str, Any]]:
        body = frame.body
        match frame.name:
            case "client.register":
                client = client_id_of(body["secret_hash"])
                self._clients[body["secret_hash"]] = client
                return "client.registered.v1", {"client": client}
            case "application.register":
                text = f"{body['client']}/{body['application']}/{body['instance']}"
                token = "k." + hashlib.sha256(text.encode()).hexdigest()
                answer = {"token": token, "sequence": body["sequence"]}
                return "application.registered.v1", answer
            case "application.deregister":
                return "application.deregistered.v1", {"sequence": body["sequence"]}
            case "channel.activate":
                self._offered = [offer["type"] for offer in body["offers"]]
                self._sequence = body["sequence"]
                return "channels.activated.v1", self._channels()
            case "channel.confirm":
                self.unproved.discard(body["channel"])
                return "channels.activated.v1", self._channels()
            case _:
                return "refused.v1", {"code": "not_found", "message": "nothing of that ID"}

    def _channels(self) -> dict[str, Any]:
        selected = [
            {"type": kind, "state": "pending" if kind in self.unproved else "active"}
            for kind in self._offered
        ]
        return {"sequence": self._sequence, "selected": selected}
