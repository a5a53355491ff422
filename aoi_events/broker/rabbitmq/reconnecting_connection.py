"""A connection to RabbitMQ that reconnects when it is lost.

aio-pika's own robust connection is not used: it restores channels, consumers and declarations by
itself, in an order and at moments that it chooses, keeps delivery tags of channels that are gone,
and declares exclusive queues anew under their old names. What this project promises (an
exclusive queue dies with its connection; nothing is acknowledged on another channel than it came
from; a publisher learns at once that a confirm will not come) is simple when a connection is a
value that is replaced, and every user of it sees the replacement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp.common import FieldTable
from yarl import URL

from aoi_events.broker.rabbitmq.faults import broker_faults
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.platform.sockets import abort

log = get_logger(__name__)

HEARTBEAT = 10
"""Seconds between signs of life that are agreed with the broker."""
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_ENDLESS = RetryPolicy(first=0.1, most=5.0, jitter=0.5)

Prepare = Callable[[AbstractConnection], Awaitable[None]]


class ReconnectingConnection:
    """A connection for one purpose, replaced whenever it is lost."""

    def __init__(
        self,
        url: URL,
        *,
        name: str,
        prepare: Prepare | None = None,
        reconnected: Callable[[], None] = lambda: None,
    ) -> None:
        """``prepare`` runs on each new connection, ``reconnected`` after all but the first."""
        self._url = url.update_query(heartbeat=HEARTBEAT)
        self._name = name
        self._prepare = prepare
        self._reconnected = reconnected
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._socket = _Socket(url)
        self._cut: aiormq.Connection | None = None

    @property
    def where(self) -> str:
        """Host and port, for logs and errors: a URL holds a password."""
        port = self._url.port or _PORTS[self._url.scheme]
        return f"{self._url.host}:{port}"

    async def open(self, retry_policy: RetryPolicy) -> None:
        """Connect for the first time, and from then on stay connected."""
        await retry(
            self._connect, policy=retry_policy, on=BrokerUnavailable, failed=self._log_failure
        )
        self._reconnecting = asyncio.create_task(
            self._reconnect_when_lost(), name=f"connection {self._name}"
        )

    def present(self) -> aiormq.Connection | None:
        """The connection that is up now, if one is."""
        connection = self._connection
        if connection is None or connection.transport is None:
            return None
        raw = connection.transport.connection
        if not isinstance(raw, aiormq.Connection) or raw.is_closed or raw is self._cut:
            return None
        return raw

    def required(self) -> aiormq.Connection:
        """The connection that is up now; raises BrokerUnavailable if there is none."""
        connection = self.present()
        if connection is None:
            raise BrokerUnavailable(f"there is no connection to {self.where}")
        return connection

    def aio_pika_connection(self) -> AbstractConnection:
        """The connection that is up now, as aio-pika's object, for declarations."""
        connection = self._connection
        if connection is None or self.present() is None:
            raise BrokerUnavailable(f"there is no connection to {self.where}")
        return connection

    async def up(self) -> aiormq.Connection:
        """Wait until there is a connection."""
        while (connection := self.present()) is None:
            await self._up.wait()
            # The task that reconnects may not have noticed yet that it was lost again.
            await asyncio.sleep(0)
        return connection

    def cut(self) -> None:
        """Drop the present connection with everything that it has not sent, and connect again.

        Closing in good order would wait for a broker that stopped reading.
        """
        self._cut = self.present()
        if self._cut is not None:
            self._socket.abort()

    async def close(self) -> None:
        """Disconnect for good. Idempotent."""
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
            self._reconnecting = None
        connection, self._connection = self._connection, None
        self._up.clear()
        if connection is not None:
            await connection.close()

    async def _connect(self) -> None:
        async with broker_faults(f"connecting to {self.where}"):
            properties: FieldTable = {"connection_name": self._name}
            connection = aio_pika.Connection(self._url, client_properties=properties)
            connection.kwargs["transport_factory"] = self._socket
            try:
                await connection.connect()
                if self._prepare is not None:
                    await self._prepare(connection)
            except BaseException:
                await connection.close()
                raise
        self._connection = connection
        self._up.set()

    async def _reconnect_when_lost(self) -> None:
        while True:
            connection = self._connection
            if connection is not None and connection.transport is not None:
                await asyncio.wait([connection.transport.connection.closing])
            self._connection = None
            self._up.clear()
            log.warning("broker_connection_lost", broker=self.where, connection=self._name)
            if connection is not None:
                await connection.close()
            await retry(
                self._connect,
                policy=_ENDLESS,
                # After a restart the broker may refuse for a while what it will grant again.
                on=(BrokerUnavailable, ConfigurationError),
                failed=self._log_failure,
            )
            self._reconnected()
            log.info("broker_connected_again", broker=self.where, connection=self._name)

    def _log_failure(self, attempt: FailedAttempt) -> None:
        log.warning(
            "broker_not_reached",
            broker=self.where,
            attempt=attempt.number,
            seconds=attempt.pause,
            error=str(attempt.error),
        )


class _Socket(TransportFactory):
    """Opens sockets as aiormq does, so that the last one can be aborted."""

    def __init__(self, url: URL) -> None:
        self._factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self._writer = await self._factory.create(url, **kwargs)
        return reader, self._writer

    def abort(self) -> None:
        if self._writer is not None:
            abort(self._writer.transport)
