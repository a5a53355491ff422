"""The web server: uvicorn's HTTP protocol, with limits that uvicorn does not have.

Theory of operation. A connection is in one of three states: the head of its request arrives (from
the TCP connection, or from the first octet after an answer), its request is handled (whose body is
bounded by its handler), or it is idle. uvicorn limits the third state only; a head without an end
would occupy memory forever. So the head has a time limit and a size limit, and connections are
counted.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Container
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from aoi_events.endpoint.bodies import LINGER_OCTETS
from aoi_events.endpoint.refusals import HttpRefusal, push_response
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ErrorCode
from aoi_events.platform.limiters import ConnectionLimiter, network_of
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.sockets import Listener
from aoi_events.ports.metrics import EndpointMetrics

_log = get_logger(__name__)
_LINGER: Final = 1.0
"""Seconds for which a connection is read and discarded after a refusal."""


class Server(Listener):
    """A web server for one application on one port."""

    def __init__(self, settings: EndpointSettings, metrics: EndpointMetrics = NO_METRICS) -> None:
        super().__init__(
            self._connection,
            settings,
            handshake_within=settings.head_within,
            prefix="AOI_ENDPOINT",
        )
        self._settings = settings
        self._metrics = metrics
        self._state = ServerState()
        self._empty = asyncio.Event()
        self._empty.set()
        self._config: Config | None = None
        self._per_network = ConnectionLimiter(most=settings.connections_per_address)
        self._trusted: Container[str] = ()
        self._draining = False

    async def serve(self, app: ASGIApp) -> None:
        """Start to accept connections for ``app``."""
        # Both libraries define types of their own for ASGI.
        serving: Any = app
        if self._settings.proxies:
            serving = ProxyHeadersMiddleware(serving, trusted_hosts=list(self._settings.proxies))
            self._trusted = serving.trusted_hosts
        self._config = Config(
            serving,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            access_log=False,
            # The application answers and logs failures itself.
            log_config=None,
            log_level="critical",
            timeout_keep_alive=self._settings.keep_alive,
        )
        self._config.load()
        await self.accept()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._state.connections)

    async def drain(self, within: float) -> None:
        """Stop accepting connections, and wait so many seconds until all have ended."""
        self._draining = True
        self.refuse()
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("endpoint_not_drained", connections=self.connections)

    async def close(self) -> None:
        """Abort the connections that are left."""
        self.refuse()
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connection(self) -> asyncio.Protocol:
        if self._config is None:
            raise AssertionError("no connection comes before serve()")
        most = 0 if self._draining else self._settings.max_connections
        return _HttpConnection(
            self._config,
            self._state,
            self._settings,
            self._empty,
            self._metrics,
            self._per_network,
            self._trusted,
            most=most,
        )


class _HeadRefused(Exception):
    """The head of a request exceeds a limit; the parser turns this into an error of its own."""


class _HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP connection, with limits on the head of each request."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        settings: EndpointSettings,
        empty: asyncio.Event,
        metrics: EndpointMetrics,
        per_network: ConnectionLimiter,
        trusted: Container[str],
        *,
        most: int,
    ) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._settings = settings
        self._empty = empty
        self._metrics = metrics
        self._per_network = per_network
        self._trusted = trusted
        self._network: str | None = None
        self._most = most
        self._deadline: TimerHandle | None = None
        self._in_head = True
        self._begun = False
        self._raw = 0
        self._octets = 0
        self._fields = 0
        self._too_large = False
        self._refused = False

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count a new connection, and abort it above a limit."""
        super().connection_made(transport)
        self._empty.clear()
        # Proxies connect for many senders, so their connections are not limited by address.
        if self.client is not None and self.client[0] not in self._trusted:
            self._network = network_of(self.client[0])
        if self._network is not None and not self._per_network.enter(self._network):
            _log.warning("too_many_connections_of_an_address", address=self._network)
            transport.abort()
            return
        if len(self.connections) > self._most:
            if self._most:
                _log.warning("too_many_connections", most=self._most)
            transport.abort()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended."""
        if self._network is not None:
            self._per_network.leave(self._network)
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if not self.connections:
            self._empty.set()

    def data_received(self, data: bytes) -> None:
        """Pass octets to the parser, and refuse a head that is too large."""
        if self.transport.is_closing():
            return
        if self._in_head or self._refused:
            self._raw += len(data)
        if self._refused:
            if self._raw > LINGER_OCTETS:
                self.transport.close()
            return
        super().data_received(data)
        if self._in_head and (self._begun or self._raw) and not self._refused:
            if self._raw > self._settings.head_octets:
                self._too_large = True
                self.send_400_response("")
            elif self._deadline is None:
                self._start_timer()

    # -- the parser's callbacks -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins, perhaps in the same octets as the one before it."""
        super().on_message_begin()
        self._in_head = self._begun = True
        self._octets = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Count the octets of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field; the trailers of a chunked body count, too."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete; the handler limits the body."""
        self._in_head = self._begun = False
        self._raw = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete; the next octets are the head of another one."""
        super().on_message_complete()
        self._in_head = True

    def _count(self, octets: int) -> None:
        self._octets += octets
        bounds = self._settings
        if self._octets > bounds.head_octets or self._fields > bounds.head_fields:
            self._too_large = True
            raise _HeadRefused

    # -- refusals -------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse octets that are no request, or a too large head; close, and log nothing."""
        if self._too_large:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(status, ErrorCode.TOO_LARGE, "the head of the request is too large")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, ErrorCode.MALFORMED, "this is no HTTP request")

    def _too_slow(self) -> None:
        self._deadline = None
        if self._current_cycle() is not None:
            # The previous request is not answered yet, so this one is not late.
            self._start_timer()
        elif self._raw or self._begun:
            status = HTTPStatus.REQUEST_TIMEOUT
            self._refuse(status, ErrorCode.UNAVAILABLE, "the request did not come in time")
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, code: ErrorCode, message: str) -> None:
        """Answer, then close the connection after a short time.

        Octets that still arrive are discarded: a connection that is closed with unread octets loses
        its answer.
        """
        if self.transport.is_closing() or self._refused:
            return
        self._refused = True
        self._metrics.answered("", "", status, None)
        if (cycle := self._current_cycle()) is not None:
            # Its body is invalid, or invalid octets follow it: its answer cannot be sent.
            cycle.disconnected = True
            cycle.message_event.set()
        response = push_response(HttpRefusal(status, code, message))
        head = b"".join(
            name + b": " + value + b"\r\n"
            for name, value in (*response.raw_headers, (b"connection", b"close"))
        )
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(response.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_timer()
        self._deadline = self.loop.call_later(_LINGER, self.transport.close)

    def _current_cycle(self) -> RequestResponseCycle | None:
        """The request that is being handled, if any."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _start_timer(self) -> None:
        self._deadline = self.loop.call_later(self._settings.head_within, self._too_slow)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
