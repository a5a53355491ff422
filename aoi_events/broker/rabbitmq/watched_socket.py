"""The socket of a connection to RabbitMQ: it is aborted when nothing arrives for too long.

aiormq waits for three heartbeats of silence, and a little longer. RabbitMQ sends something at least
once in each heartbeat, so two without an octet are a broker, or a network, that is gone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiormq.connection import SSLContextProvider, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from aoi_events.platform.logs import get_logger
from aoi_events.platform.sockets import abort

log = get_logger(__name__)

_GOODBYE_WITHIN: Final = 0.5
"""Seconds for a peer to end TLS; one that hangs would hold up the next attempt for 30."""


class _Reader(asyncio.StreamReader):
    """A stream that notes when octets arrived last, by the event loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._clock: Final = loop.time
        self.received_at = loop.time()

    def feed_data(self, data: Any) -> None:
        self.received_at = self._clock()
        super().feed_data(data)


class WatchedSocket(TransportFactory):
    """Opens sockets one after another, for aiormq; the last one can be aborted."""

    def __init__(self, *, tls: bool, silence: float, name: str) -> None:
        """``silence``: seconds without an octet after which a socket is aborted; ``name`` is for
        the log.
        """
        self._tls = tls
        self._silence = silence
        self._name = name
        self._transport: asyncio.Transport | None = None

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Raises AMQPConnectionError."""
        loop = asyncio.get_running_loop()
        tls: SSLContextProvider = kwargs.pop("ssl_context_provider")
        reader = _Reader(loop)
        try:
            transport, protocol = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                url.host or "",
                url.port or 0,
                ssl=await tls.get_context() if self._tls else None,
                ssl_shutdown_timeout=_GOODBYE_WITHIN if self._tls else None,
                **kwargs,
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._transport = transport
        self._watch(loop, transport, reader)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def abort(self) -> None:
        """End the last socket at once, without sending what is buffered."""
        if self._transport is not None:
            abort(self._transport)

    def _watch(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, reader: _Reader
    ) -> None:
        """Abort the socket if it was silent for too long; else come back when it may be.

        After a process was stopped for a while, octets that waited are read before any timer runs.
        """
        if transport.is_closing():
            return
        silent_at = reader.received_at + self._silence
        if loop.time() < silent_at:
            loop.call_at(silent_at, self._watch, loop, transport, reader)
            return
        log.warning("broker_silent", connection=self._name, seconds=self._silence)
        abort(transport)
