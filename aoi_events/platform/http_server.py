"""A web server of aiohttp on one port, with limits on its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from aoi_events.platform.address import Address
from aoi_events.platform.limiters import ConnectionLimiter, Network, is_within
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.sockets import Listener, abort, peer_host, peer_network
from aoi_events.ports.metrics import Limit

_log = get_logger(__name__)
_SHUTDOWN: Final = 0.1
"""Seconds for handlers of aborted connections to end (for aiohttp, 0 means no limit)."""


class LimitedAddress(Address, Protocol):
    """The settings of a port that limits its connections."""

    @property
    def max_connections(self) -> int:
        """Connections at once."""

    @property
    def connections_per_address(self) -> int:
        """Connections at once from one network address."""


class HttpServer(Listener):
    """A web server that limits its connections, in all and per network address.

    ``connection`` makes the protocol of a connection to this server. ``handlers`` is the server of
    aiohttp, which should be set before connections are accepted. Proxies connect for many others,
    so their connections are not limited by address.
    """

    handlers: web.Server | None = None

    def __init__(
        self,
        connection: Callable[[], HttpConnection],
        settings: LimitedAddress,
        *,
        handshake_within: float,
        prefix: str,
        proxies: Sequence[Network] = (),
        refused: Callable[[Limit], None] | None = None,
    ) -> None:
        super().__init__(connection, settings, handshake_within=handshake_within, prefix=prefix)
        self._seldom = SeldomLog(_log)
        self._most = settings.max_connections
        self._per_network = ConnectionLimiter(most=settings.connections_per_address)
        self._proxies = proxies
        self._refused = refused
        self._open: dict[HttpConnection, tuple[asyncio.Transport, str | None]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def drain(self, within: float) -> None:
        """Stop accepting connections, and wait so many seconds until all have ended."""
        self.refuse()
        for connection in list(self._open):
            if not connection.busy:
                connection.force_close()
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("connections_not_drained", connections=self.connections)

    async def close(self) -> None:
        """Abort the connections that are left."""
        self.refuse()
        if self.handlers is not None:
            await self.handlers.shutdown(_SHUTDOWN)
        for transport, _ in list(self._open.values()):
            abort(transport)

    def opened(self, connection: HttpConnection, transport: asyncio.Transport) -> None:
        """Count a new connection, and abort it above a limit."""
        network = None
        if not is_within(peer_host(transport), self._proxies):
            network = peer_network(transport)
        self._open[connection] = (transport, network)
        self._empty.clear()
        if network is not None and not self._per_network.enter(network):
            self._seldom.warning("too_many_connections_of_an_address", address=network)
            self._abort(transport, Limit.CONNECTIONS_PER_ADDRESS)
        elif self.connections > self._most:
            self._seldom.warning("too_many_connections", most=self._most)
            self._abort(transport, Limit.CONNECTIONS)
        elif not self.listening:
            abort(transport)

    def closed(self, connection: HttpConnection) -> None:
        """Count a connection that ended."""
        _, network = self._open.pop(connection)
        if network is not None:
            self._per_network.leave(network)
        if not self._open:
            self._empty.set()

    def _abort(self, transport: asyncio.Transport, limit: Limit) -> None:
        if self._refused is not None:
            self._refused(limit)
        abort(transport)


class HttpConnection(web.RequestHandler):
    """aiohttp's HTTP connection; its server counts it before its first octet.

    ``refusal`` makes the answer to octets that are no HTTP. ``options`` are those of aiohttp.
    """

    __slots__ = ("_refusal", "_server")

    def __init__(
        self, server: HttpServer, refusal: Callable[[Exception], web.Response], **options: Any
    ) -> None:
        if server.handlers is None:
            raise AssertionError("handlers are set before connections are accepted")
        loop = asyncio.get_running_loop()
        super().__init__(server.handlers, loop=loop, access_log=None, **options)  # type: ignore[arg-type]
        self._server = server
        self._refusal = refusal

    @property
    def busy(self) -> bool:
        """Whether a request is handled, or waits for that, or its body is discarded."""
        began = self._waiter is None and self._request_count > 0
        return began or bool(self._messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count a new connection."""
        super().connection_made(transport)
        self._server.opened(self, transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count a connection that ended."""
        self._server.closed(self)
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log a fault, but not a body that breaks off while it is discarded."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse octets that are no HTTP, and log nothing: a port scan would fill the log."""
        if isinstance(exc, HttpProcessingError | web.RequestPayloadError):
            # aiohttp makes up a request of HTTP/1.0, whose version the answer would have.
            request._version = HttpVersion11
            response = self._refusal(exc)
            response.force_close()
            return response
        return super().handle_error(request, status, exc, message)
