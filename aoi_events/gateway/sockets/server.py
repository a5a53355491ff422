"""The web server that devices connect to: it accepts WebSockets, within limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic_core import to_json

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import websocket
from aoi_events.platform.limiters import ConnectionLimiter
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.sockets import Listener, peer_network
from aoi_events.ports.metrics import GatewayMetrics, Limit

_log = get_logger(__name__)

PATH: Final = "/aoi"
"""The path of the WebSocket."""
PROTOCOLS: Final = (SUBPROTOCOL, WEBPUSH_SUBPROTOCOL)
"""The device protocols, by their WebSocket subprotocols."""
_SHUTDOWN: Final = 0.1
"""Seconds for handlers of aborted connections to end (for aiohttp, 0 means no limit)."""


class _WithoutBadRequests(logging.Filter):
    """Drops log records about requests that are no HTTP, which are answered with 400.

    Otherwise a port scan would fill the log with tracebacks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about a fault of the gateway."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_http_log: Final = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_WithoutBadRequests())

Serve = Callable[[web.WebSocketResponse, asyncio.Transport], Awaitable[None]]


class Server(Listener):
    """The gateway's web server; ``serve`` is awaited for each WebSocket until it ends."""

    def __init__(
        self,
        settings: GatewaySettings,
        serve: Serve,
        metrics: GatewayMetrics = NO_METRICS,
    ) -> None:
        self._serve = serve
        self._web = _LimitedServer(
            self._handle,
            settings,
            metrics,
            access_log=None,
            logger=_http_log,
            keepalive_timeout=settings.handshake_within,
            lingering_time=0.0,
            max_line_size=2_048,
            max_field_size=4_096,
        )
        super().__init__(
            self._web, settings, handshake_within=settings.handshake_within, prefix="AOI_GATEWAY"
        )

    async def close(self) -> None:
        """Abort the connections that are left."""
        self.refuse()
        await self._web.shutdown(_SHUTDOWN)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PATH:
            return _refusal(404, "not_found", f"devices connect to {PATH}")
        if request.headers.get("Upgrade", "").strip().lower() != "websocket":
            response = _refusal(426, "upgrade_required", "connect with a WebSocket")
            response.headers["Upgrade"] = "websocket"
            return response
        values = request.headers.getall("Sec-WebSocket-Protocol", [])
        offered = {name.strip() for value in values for name in value.split(",")}
        if offered.isdisjoint(PROTOCOLS):
            return _refusal(
                400,
                "version_unsupported",
                f"offer a WebSocket subprotocol: {' or '.join(PROTOCOLS)}",
            )
        socket = websocket(PROTOCOLS)
        await socket.prepare(request)
        if request.transport is not None:
            await self._serve(socket, request.transport)
        return socket


def _refusal(status: int, code: str, message: str) -> web.Response:
    body = to_json({"code": code, "message": message})
    response = web.Response(status=status, body=body, content_type="application/json")
    response.force_close()
    return response


class _LimitedServer(web.Server):
    """aiohttp's server with limits on connections, which apply before their first octet."""

    def __init__(
        self,
        handler: Any,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        **options: Any,
    ) -> None:
        super().__init__(handler, **options)
        self._metrics = metrics
        self._most = settings.max_connections
        self._per_network = ConnectionLimiter(most=settings.connections_per_address)
        self._counted: dict[web.RequestHandler, str] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection, and abort it above a limit."""
        super().connection_made(handler, transport)
        network = self._counted[handler] = peer_network(transport)
        if not self._per_network.enter(network):
            _log.warning("too_many_connections_of_an_address", address=network)
            self._metrics.refused(Limit.CONNECTIONS_PER_ADDRESS)
            transport.abort()
        elif len(self._counted) > self._most:
            _log.warning("too_many_connections", most=self._most)
            self._metrics.refused(Limit.CONNECTIONS)
            transport.abort()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Count a connection that ended."""
        self._per_network.leave(self._counted.pop(handler))
        super().connection_lost(handler, exc)
