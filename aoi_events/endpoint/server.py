"""The web server: aiohttp's HTTP connection, with limits that aiohttp does not have.

Theory of operation. A connection is in one of three states: the head of its request arrives (from
the TCP connection, or from the first octet after an answer), its request is handled (whose body is
bounded by its handler), or it is idle. aiohttp limits the time of the third state, and each line
and the number of lines in a head. Here the head as a whole has a time limit and a size limit.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.typedefs import Handler

from aoi_events.endpoint.refusals import HttpRefusal, head_too_large, push_response
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ErrorCode
from aoi_events.platform.http_server import HttpConnection, HttpServer
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.metrics import EndpointMetrics

_LINGER: Final = 1.0
"""Seconds for which a connection is read and discarded after a refusal: a connection that is closed
with unread octets loses its answer."""
_INVALID: Final = b"\0"
"""An octet that is invalid everywhere in a head (RFC 9110, section 5.5)."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_TOO_MANY: Final = "Too many headers"
"""In aiohttp's error for more header fields than allowed, which has no class of its own."""


class EndpointServer(HttpServer):
    """A web server for one application on one port."""

    def __init__(self, settings: EndpointSettings, metrics: EndpointMetrics = NO_METRICS) -> None:
        super().__init__(
            lambda: _Connection(self, settings, metrics),
            settings,
            handshake_within=settings.head_within,
            prefix="AOI_ENDPOINT",
            proxies=settings.proxies,
        )

    async def serve(self, app: web.Application, outermost: Callable[[Handler], Handler]) -> None:
        """Start to accept connections for ``app``; ``outermost`` handles each request around it.

        A middleware of aiohttp does not see requests whose header ``Expect`` is refused.
        """
        runner = web.AppRunner(app)
        await runner.setup()
        self.handlers = server = runner.server
        if server is None:
            raise AssertionError("a runner that is set up has a server")
        server.request_handler = outermost(server.request_handler)  # type: ignore[assignment]
        await self.accept()


class _Connection(HttpConnection):
    """An HTTP connection with limits on the head of each request."""

    def __init__(
        self, server: EndpointServer, settings: EndpointSettings, metrics: EndpointMetrics
    ) -> None:
        super().__init__(
            server,
            self._refuse,
            keepalive_timeout=settings.keep_alive,
            lingering_time=settings.body_within,
            max_line_size=settings.head_octets,
            max_field_size=settings.head_octets,
            max_headers=settings.head_fields,
            auto_decompress=False,
        )
        self._settings = settings
        self._metrics = metrics
        self._body: StreamReader = EMPTY_PAYLOAD
        self._content = self._octets = 0
        self._deadline: TimerHandle | None = None
        self._failure: HttpRefusal | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the wait for a head."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass octets to the parser, and refuse a head, or trailers, that are too large."""
        if self._refused:
            return
        if self._upgraded:
            # aiohttp stores it, within bounds, until the answer, which closes the connection.
            super().data_received(data)
            return
        in_body = not self._body.is_eof()
        super().data_received(data)
        if self._messages:
            self._heads_received(data)
        elif in_body and (self._body.is_eof() or self._body.total_bytes > self._content):
            self._content = self._body.total_bytes
            self._octets = 0
        else:
            self._octets += len(data)
            if self._octets > self._settings.head_octets:
                self._fail(head_too_large())
            elif self._deadline is None and not in_body:
                self._start_timer()

    def _heads_received(self, data: bytes) -> None:
        """A head is complete, or octets are invalid; ``data`` are the octets that came last."""
        self._stop_timer()
        self._octets = self._content = 0
        bodies = [self._body, *(body for _, body in self._messages)]
        self._body = bodies[-1]
        for body in bodies:
            if body is not self._body and not body.is_eof():
                # Invalid octets follow, which aiohttp does not report to the reader of a body.
                body.set_exception(web.RequestPayloadError())
                body.feed_eof()
        if self._body is EMPTY_PAYLOAD and data and not data.endswith(_END_OF_HEAD):
            self._octets = 1
            self._start_timer()

    def _too_slow(self) -> None:
        self._deadline = None
        if self.busy:
            # The previous request is not answered yet, so this one is not late.
            self._start_timer()
        elif self._octets:
            status = HTTPStatus.REQUEST_TIMEOUT
            self._fail(HttpRefusal(status, ErrorCode.UNAVAILABLE, "the request came too slowly"))
        else:
            self.force_close()

    def _fail(self, refusal: HttpRefusal) -> None:
        """Answer what arrives with ``refusal``, after the answers to the requests before it."""
        self._failure = refusal
        super().data_received(_INVALID)
        self._heads_received(_END_OF_HEAD)

    def _refuse(self, error: Exception) -> web.Response:
        """The answer to octets that are no request, or a head that is too large or too slow."""
        self._refused = True
        self._stop_timer()
        refusal = self._failure
        if refusal is None and (isinstance(error, LineTooLong) or _TOO_MANY in str(error)):
            refusal = head_too_large()
        if refusal is None:
            message = "this is no HTTP request"
            refusal = HttpRefusal(HTTPStatus.BAD_REQUEST, ErrorCode.MALFORMED, message)
        self._metrics.answered("", "", refusal.status, None)
        return push_response(refusal)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answer a request; after a refusal, discard what arrives for a while, then close."""
        if self._upgraded or not self._server.listening:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        if self._refused and self.transport is not None:
            if self.transport.can_write_eof():
                # The peer may have gone after the answer was written.
                with suppress(OSError):
                    self.transport.write_eof()
            await asyncio.sleep(_LINGER)
        return finished

    def _start_timer(self) -> None:
        # A connection whose head arrives is not idle.
        self.keep_alive(True)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._settings.head_within, self._too_slow)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
