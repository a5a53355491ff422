"""The web server that devices connect to: it accepts WebSockets, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from pydantic_core import to_json

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import websocket
from aoi_events.platform.http_server import HttpConnection, HttpServer
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.metrics import GatewayMetrics

PATH: Final = "/aoi"
"""The path of the WebSocket."""
PROTOCOLS: Final = (SUBPROTOCOL, WEBPUSH_SUBPROTOCOL)
"""The device protocols, by their WebSocket subprotocols. Without one it is ``push-notification``:
several push clients that speak it offer none, as Mozilla's service does not ask for it."""

Serve = Callable[[web.WebSocketResponse, asyncio.Transport], Awaitable[None]]


class GatewayServer(HttpServer):
    """The gateway's web server; ``serve`` is awaited for each WebSocket until it ends."""

    def __init__(
        self,
        settings: GatewaySettings,
        serve: Serve,
        metrics: GatewayMetrics = NO_METRICS,
    ) -> None:
        super().__init__(
            self._connection,
            settings,
            handshake_within=settings.handshake_within,
            prefix="AOI_GATEWAY",
            refused=metrics.refused,
        )
        self.handlers = web.Server(self._handle)
        self._within = settings.handshake_within
        self._serve = serve

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            self,
            _not_http,
            keepalive_timeout=self._within,
            lingering_time=0.0,
            max_line_size=2_048,
            max_field_size=4_096,
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PATH:
            return _refusal(404, "not_found", f"devices connect to {PATH}")
        if request.headers.get("Upgrade", "").strip().lower() != "websocket":
            response = _refusal(426, "upgrade_required", "connect with a WebSocket")
            response.headers["Upgrade"] = "websocket"
            return response
        values = request.headers.getall("Sec-WebSocket-Protocol", [])
        offered = {name.strip() for value in values for name in value.split(",")} - {""}
        if offered and offered.isdisjoint(PROTOCOLS):
            return _refusal(
                400,
                "version_unsupported",
                f"offer a WebSocket subprotocol: {' or '.join(PROTOCOLS)} (the default)",
            )
        socket = websocket(PROTOCOLS)
        try:
            await socket.prepare(request)
        except ConnectionError:
            # The device has gone already: aiohttp drops this answer without a word.
            return web.Response()
        if request.transport is not None:
            await self._serve(socket, request.transport)
        return socket


def _refusal(status: int, code: str, message: str) -> web.Response:
    body = to_json({"code": code, "message": message})
    response = web.Response(status=status, body=body, content_type="application/json")
    response.force_close()
    return response


def _not_http(_error: Exception) -> web.Response:
    return _refusal(400, "malformed", "this is no HTTP request")
