"""The web server: uvicorn's protocol on a port of ours, with the bounds that it has not itself.

Theory of operation. A connection is in one of three states: its request's head is on the way (from
the TCP connection, or the first octet after an answer), its request is handled (bodies are bounded
where they are read), or it is idle. uvicorn bounds the third only; a head that never ends, or never
stops, would hold memory for ever. So the head has a deadline and a size, and connections are
counted.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
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

from aoi_events.endpoint.connection_limiter import Crowds, network_of
from aoi_events.endpoint.refusals import HttpRefusal, push_response
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ErrorCode
from aoi_events.platform.logs import get_logger
from aoi_events.platform.sockets import listen
from aoi_events.ports.metrics import NO_METRICS, EndpointMetrics

__all__ = ["Server"]

_log = get_logger(__name__)
_LINGER: Final = 1.0
_LINGER_OCTETS: Final = 1_048_576
"""Seconds and octets for which a connection whose request was refused is still read."""


class Server:
    """Serves one application on one port."""

    def __init__(self, settings: EndpointSettings, metrics: EndpointMetrics = NO_METRICS) -> None:
        self._settings = settings
        self._metrics = metrics
        self._state = ServerState()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listening: asyncio.Server | None = None
        self._config: Config | None = None
        self._crowds = Crowds(most=settings.connections_per_address)
        self._draining = False

    async def bind(self) -> int:
        """Take the port, and return it. Raises ConfigurationError when that is not possible."""
        settings = self._settings
        self._listening, port = await listen(
            self._connection,
            settings.host,
            settings.port,
            certificate=settings.certificate,
            private_key=settings.private_key,
            handshake_within=settings.head_within,
            settings="AOI_ENDPOINT",
        )
        return port

    async def accept(self, app: ASGIApp) -> None:
        """Accept connections from now on, for ``app``."""
        # Both libraries mean ASGI, each in types of its own.
        serving: Any = app
        if self._settings.proxies:
            serving = ProxyHeadersMiddleware(serving, trusted_hosts=list(self._settings.proxies))
            self._crowds = Crowds(
                most=self._settings.connections_per_address, exempt=serving.trusted_hosts
            )
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
            # What it would say is answered, and logged where it is ours, before it comes to it.
            log_config=None,
            log_level="critical",
            timeout_keep_alive=self._settings.keep_alive,
        )
        self._config.load()
        if self._listening is not None:
            await self._listening.start_serving()

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._listening is not None and self._listening.is_serving()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._state.connections)

    async def drain(self, within: float) -> None:
        """Accept no more, answer what is under way for so many seconds, then end the rest."""
        self._draining = True
        self.refuse()
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("not_answered_in_time", connections=self.connections)

    def refuse(self) -> None:
        """Accept no more connections."""
        if self._listening is not None:
            self._listening.close()

    async def close(self) -> None:
        """End whatever is left, without a word."""
        self.refuse()
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connection(self) -> asyncio.Protocol:
        if self._config is None:
            raise AssertionError("no connection comes before accept()")
        most = 0 if self._draining else self._settings.max_connections
        return _Connection(
            self._config,
            self._state,
            self._settings,
            self._empty,
            self._metrics,
            self._crowds,
            most=most,
        )


class _HeadRefused(Exception):
    """The head of a request is beyond its bounds; the parser hands it on as an error of its own."""


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds on the head of each request."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        settings: EndpointSettings,
        empty: asyncio.Event,
        metrics: EndpointMetrics,
        crowds: Crowds,
        *,
        most: int,
    ) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._settings = settings
        self._empty = empty
        self._metrics = metrics
        self._crowds = crowds
        self._host: str | None = None
        self._most = most
        self._deadline: TimerHandle | None = None
        self._in_head = True
        self._begun = False
        self._raw = 0
        self._octets = 0
        self._fields = 0
        self._beyond = False
        self._refused = False

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and close it when it is one too many."""
        super().connection_made(transport)
        self._empty.clear()
        self._host = None if self.client is None else self.client[0]
        if not self._crowds.enter(self._host):
            _log.warning("too_many_connections_of_an_address", address=network_of(self._host))
            transport.abort()
            return
        if len(self.connections) > self._most:
            if self._most:
                _log.warning("too_many_connections", most=self._most)
            transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self._crowds.leave(self._host)
        self._unwatch()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if not self.connections:
            self._empty.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and stop a head that goes on and on."""
        if self.transport.is_closing():
            return
        if self._in_head or self._refused:
            self._raw += len(data)
        if self._refused:
            if self._raw > _LINGER_OCTETS:
                self.transport.close()
            return
        super().data_received(data)
        if self._in_head and (self._begun or self._raw) and not self._refused:
            if self._raw > self._settings.head_octets:
                self._beyond = True
                self.send_400_response("")
            elif self._deadline is None:
                self._watch()

    # -- the parser's callbacks -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins, perhaps behind another one in the same octets."""
        super().on_message_begin()
        self._in_head = self._begun = True
        self._octets = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Count its octets."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it; fields behind a chunked body count, too."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: what follows is bounded by whoever reads the body."""
        self._in_head = self._begun = False
        self._raw = 0
        self._unwatch()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Whatever comes now is the head of the next request."""
        super().on_message_complete()
        self._in_head = True

    def _count(self, octets: int) -> None:
        self._octets += octets
        bounds = self._settings
        if self._octets > bounds.head_octets or self._fields > bounds.head_fields:
            self._beyond = True
            raise _HeadRefused

    # -- refusals -------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Octets that are no request, or too much of a head: say so and close, logging nothing."""
        if self._beyond:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(status, ErrorCode.TOO_LARGE, "the head of the request is too large")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, ErrorCode.MALFORMED, "this is no HTTP request")

    def _too_slow(self) -> None:
        self._deadline = None
        if self._under_way() is not None:
            # The request before it is not answered yet, so nobody waits for this one.
            self._watch()
        elif self._raw or self._begun:
            status = HTTPStatus.REQUEST_TIMEOUT
            self._refuse(status, ErrorCode.UNAVAILABLE, "the request did not come in time")
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, code: ErrorCode, message: str) -> None:
        """The answer, and the end: whatever still comes is thrown away for a moment, because a
        connection that is closed with octets unread loses its answer.
        """
        if self.transport.is_closing() or self._refused:
            return
        self._refused = True
        self._metrics.answered("", "", status, None)
        if (cycle := self._under_way()) is not None:
            # Its body is none, or nonsense came behind it: it has nobody to be answered to.
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
        self._unwatch()
        self._deadline = self.loop.call_later(_LINGER, self.transport.close)

    def _under_way(self) -> RequestResponseCycle | None:
        """The request that is handled now, if any."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(self._settings.head_within, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
