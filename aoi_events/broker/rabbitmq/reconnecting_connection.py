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

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from pamqp.common import FieldTable

from aoi_events.broker.rabbitmq.addresses import CONNECT_WITHIN, BrokerAddress, BrokerAddresses
from aoi_events.broker.rabbitmq.faults import ANSWER_WITHIN, broker_faults
from aoi_events.broker.rabbitmq.watched_socket import WatchedSocket
from aoi_events.errors import AoiError, BrokerUnavailable, ConfigurationError
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry

log = get_logger(__name__)

HEARTBEAT = 4
"""Seconds between signs of life that are agreed with the broker, which sends them twice as often.
Two of them, and a reconnection, are less than ten seconds.
"""
_ENDLESS = RetryPolicy(first=0.1, most=5.0, jitter=0.5)

Prepare = Callable[[AbstractConnection], Awaitable[None]]


class ReconnectingConnection:
    """A connection for one purpose, replaced whenever it is lost."""

    def __init__(
        self,
        addresses: BrokerAddresses,
        *,
        name: str,
        prepare: Prepare | None = None,
        reconnected: Callable[[], None] = lambda: None,
        heartbeat: int = HEARTBEAT,
    ) -> None:
        """``prepare`` runs on each new connection, ``reconnected`` after all but the first; after
        two heartbeats of silence a connection is lost.
        """
        self._addresses = addresses
        self._address: BrokerAddress | None = None
        self._heartbeat = heartbeat
        self._name = name
        self._prepare = prepare
        self._reconnected = reconnected
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._socket = WatchedSocket(tls=addresses.tls, silence=2.0 * heartbeat, name=name)
        self._cut: aiormq.Connection | None = None

    @property
    def where(self) -> str:
        """The address that is used now, else all of them, for logs and errors."""
        return str(self._addresses) if self._address is None else self._address.shown

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

    async def blocked(self) -> bool:
        """Whether RabbitMQ has reported an alarm, because of which it reads no publishes."""
        connection = self.present()
        if connection is None:
            return False
        try:
            async with asyncio.timeout(0):
                await connection.ready()
        except TimeoutError:
            return True
        return False

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
        """Connect to the first address that lets us in. Raises an error that names them all."""
        addresses, errors = await self._addresses.in_turn()
        within = ANSWER_WITHIN if len(addresses) == 1 else CONNECT_WITHIN
        failures: list[AoiError] = list(errors)
        for address in addresses:
            try:
                return await self._connect_to(address, within)
            except (BrokerUnavailable, ConfigurationError) as failure:
                self._addresses.failed(address)
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        refused = any(isinstance(failure, ConfigurationError) for failure in failures)
        kind = ConfigurationError if refused else BrokerUnavailable
        raise kind("; ".join(map(str, failures))) from failures[-1]

    async def _connect_to(self, address: BrokerAddress, within: float) -> None:
        doing = f"connecting to {address.shown}"
        properties: FieldTable = {"connection_name": self._name}
        url = address.url.with_host(address.ip).update_query(heartbeat=self._heartbeat)
        connection = aio_pika.Connection(url, client_properties=properties)
        if url.scheme == "amqps":
            connection.kwargs["server_hostname"] = address.url.host
        connection.kwargs["transport_factory"] = self._socket
        try:
            async with broker_faults(doing, within=within):
                await connection.connect()
            if self._prepare is not None:
                async with broker_faults(doing):
                    await self._prepare(connection)
        except BaseException:
            await connection.close()
            raise
        self._connection, self._address = connection, address
        self._up.set()

    async def _reconnect_when_lost(self) -> None:
        while True:
            connection = self._connection
            if connection is not None and connection.transport is not None:
                await asyncio.wait([connection.transport.connection.closing])
            self._connection = None
            self._up.clear()
            log.warning("broker_connection_lost", broker=self.where, connection=self._name)
            if self._address is not None:
                self._addresses.failed(self._address)
                self._address = None
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
