"""Runs a gateway: its server, connections, queue, requests to the workers and outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import OutcomeItem
from aoi_events.contracts.identifiers import ClientId
from aoi_events.gateway.protocol.aoi_session import AoiSession
from aoi_events.gateway.protocol.effects import Admit, EndPresence, ForwardRequest
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from aoi_events.gateway.protocol.webpush import WebPushSession
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import DeviceConnection
from aoi_events.gateway.sockets.server import GatewayServer
from aoi_events.gateway.workers.announcer import Announcer
from aoi_events.gateway.workers.node_queue import NodeQueue
from aoi_events.gateway.workers.outbox import Outbox
from aoi_events.gateway.workers.queue_prober import QueueProber
from aoi_events.gateway.workers.request_forwarder import RequestForwarder
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.platform.tasks import unless_set
from aoi_events.platform.worker_rpc import WorkerRpc
from aoi_events.ports.broker import Broker, Requester
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import GatewayMetrics, Level

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """The health of a gateway; ``ready``: devices can connect, the broker is connected, and the
    gateway's queue takes messages.
    """

    ready: bool
    listening: bool
    broker: bool
    queue_fault: str | None
    """Why it is not proved that the queue takes messages; None: it is proved."""
    node: str
    connections: int
    sessions: int
    outbox: int
    """Outcomes that wait for the broker."""
    dropped: int
    """Outcomes that were dropped because too many waited."""


class Gateway:
    """A gateway, to be run once. ``started`` is set when devices can connect to ``port``.

    ``senders_url`` returns the origin where senders reach the worker ``endpoint`` now: the URLs
    that browsers get for their subscriptions begin with it.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        settings: GatewaySettings | None = None,
        clock: Clock | None = None,
        dice: Dice | None = None,
        senders_url: Callable[[], str] = lambda: "http://localhost:8092",
        metrics: GatewayMetrics = NO_METRICS,
    ) -> None:
        self.settings = GatewaySettings() if settings is None else settings
        self.started = asyncio.Event()
        self.port = self.settings.port
        self.elapsed = 0.0
        self.metrics = metrics
        self._broker = broker
        self._senders_url = senders_url
        self._clock = SystemClock() if clock is None else clock
        self._dice = SystemDice() if dice is None else dice
        self._connections: dict[str, DeviceConnection] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._draining = False
        self._outbox = Outbox(broker, self._clock, bound=self.settings.outbox, metrics=metrics)
        self._server = GatewayServer(self.settings, self._serve, metrics)
        self._prober = QueueProber(broker, self, self.settings, node_name=self._node_name)
        self._announcer = Announcer(
            self,
            self._connections,
            self.settings,
            clock=self._clock,
            node_name=self._node_name,
            unreachable=self._prober.unreachable,
        )
        self._node_queue = NodeQueue(
            broker,
            self,
            self._connections,
            prober=self._prober,
            announcer=self._announcer,
            clock=self._clock,
            dice=self._dice,
            settings=self.settings,
        )
        self._forwarder: RequestForwarder | None = None
        metrics.watch(
            {
                Level.CONNECTIONS: lambda: len(self._connections),
                Level.SESSIONS: self._sessions,
                Level.OUTBOX: lambda: len(self._outbox),
            }
        )

    # -- life -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve devices until ``stop`` is set, then drain. Cancel it to stop at once.

        Raises ConfigurationError when the port cannot be used.
        """
        self.port = await self._server.bind()
        try:
            requester = await unless_set(
                stop,
                retry(self._broker.requester, policy=RetryPolicy(), sleep=self._clock.sleep),
            )
            if requester is not None:
                try:
                    await self._run(requester, stop)
                finally:
                    await requester.close()
        finally:
            await self._server.close()

    async def _run(self, requester: Requester, stop: asyncio.Event) -> None:
        rpc = WorkerRpc(requester, timeout=self.settings.request_within)
        forwarder = self._forwarder = RequestForwarder(
            rpc,
            self,
            self.settings,
            node_name=self._node_name,
            outdated=self._announcer.announce,
        )
        try:
            async with asyncio.TaskGroup() as group:
                consuming = group.create_task(self._node_queue.run())
                others = [
                    group.create_task(self._announcer.run(rpc)),
                    group.create_task(self._announcer.run_rounds(rpc)),
                    group.create_task(self._prober.run()),
                    group.create_task(self._outbox.run()),
                    group.create_task(self._tick_forever()),
                ]
                # The queue first: without its name the workers cannot reach a session.
                await unless_set(stop, self._node_queue.ready.wait())
                if not stop.is_set():
                    await self._server.accept()
                    self.started.set()
                    _log.info("gateway_listens", host=self.settings.host, port=self.port)
                    await stop.wait()
                    await self._drain(consuming)
                for task in (consuming, *others):
                    task.cancel()
        finally:
            for connection in list(self._connections.values()):
                connection.abort()
            await forwarder.close()

    async def _drain(self, consuming: asyncio.Task[None]) -> None:
        """Close every connection, and publish the outcomes and presences that end with them."""
        _log.info("gateway_drains", connections=len(self._connections))
        self._draining = True
        self._prober.stop()
        self._server.refuse()
        try:
            async with asyncio.timeout(self.settings.drain_within):
                for connection in list(self._connections.values()):
                    await self._close(connection)
                # The tick aborts the connections that do not answer the close.
                await self._all_gone.wait()
                await self._node_queue.stop()
                await consuming
                await self._outbox.flush()
        except TimeoutError:
            _log.warning(
                "gateway_not_drained",
                hint="the deadlines of their deliveries settle the rest",
                connections=len(self._connections),
                outbox=len(self._outbox),
            )

    async def _close(self, connection: DeviceConnection) -> None:
        await connection.perform(
            connection.session.close(
                CloseCode.SERVICE_RESTART,
                "the server restarts; connect again",
                now=self.now(),
            )
        )

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(self.settings.tick)
            self.elapsed += self.settings.tick
            await self._prober.tick()
            for connection in list(self._connections.values()):
                if connection.due <= self.elapsed:
                    await connection.tick()

    async def health(self) -> GatewayHealth:
        """The present health."""
        broker = await self._broker.healthy()
        listening = self._server.listening
        return GatewayHealth(
            ready=broker and listening and not self._draining and self.queue_fault is None,
            listening=listening,
            broker=broker,
            queue_fault=self.queue_fault,
            node=self._node_name(),
            connections=len(self._connections),
            sessions=self._sessions(),
            outbox=len(self._outbox),
            dropped=self._outbox.dropped,
        )

    @property
    def queue_fault(self) -> str | None:
        """Why it is not proved that the gateway's queue takes messages; None: it is proved."""
        return self._prober.fault

    async def queue_proved(self) -> bool:
        """Whether the gateway's queue takes messages now, for ``/readyz``."""
        return self.queue_fault is None

    def _node_name(self) -> str:
        return self._node_queue.name

    def _sessions(self) -> int:
        open_ = SessionState.OPEN
        return sum(each.session.state is open_ for each in self._connections.values())

    # -- what the server and connections call ---------------------------------------------------

    async def _serve(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        session = self._session(socket.ws_protocol)
        connection = DeviceConnection(
            session, socket, transport, settings=self.settings, gateway=self
        )
        self._connections[session.id] = connection
        self._all_gone.clear()
        try:
            if self._draining:
                await self._close(connection)
            await connection.serve()
        finally:
            del self._connections[session.id]
            if not self._connections:
                self._all_gone.set()

    def _session(self, protocol: str | None) -> DeviceSession:
        name = self._dice.token_hex(8)
        if protocol == AoiSession.protocol:
            return AoiSession(name, self.settings, elapsed=self.elapsed)
        return WebPushSession(
            name,
            self.settings,
            senders_url=self._senders_url(),
            randomness=bytes.fromhex(self._dice.token_hex(32)),
            elapsed=self.elapsed,
        )

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    async def admit(self, connection: DeviceConnection, effect: Admit) -> None:
        """Ask the workers whether a client has a secret; does not wait for the answer."""
        if self._forwarder is not None:
            await self._forwarder.admit(connection, effect)

    async def forward(self, connection: DeviceConnection, effect: ForwardRequest) -> None:
        """Forward a device's request to the workers; does not wait for the answer."""
        if self._forwarder is not None:
            await self._forwarder.forward(connection, effect)

    def report(self, outcome: OutcomeItem) -> None:
        """Report an outcome to the outcome worker."""
        self._outbox.put(outcome)

    def end_presence(self, client: ClientId, epoch: int) -> None:
        """Report the end of a presence to the activation worker."""
        self._outbox.put(EndPresence(client, epoch))
