"""The gateway: puts server, connections, desk, outbox and node together, and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from aiohttp import web

from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import OutcomeItem
from aoi_events.contracts.identifiers import ClientId
from aoi_events.gateway.protocol.actions import Admit, Ask
from aoi_events.gateway.protocol.aoi_session import AoiSession
from aoi_events.gateway.protocol.session import Session, State
from aoi_events.gateway.protocol.webpush import WebPushSession
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.addresses import Addresses
from aoi_events.gateway.sockets.connection import Connection
from aoi_events.gateway.sockets.server import Server
from aoi_events.gateway.workers.node_queue import Node
from aoi_events.gateway.workers.outbox import Outbox
from aoi_events.gateway.workers.worker_rpc import Desk
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import Patience, patiently
from aoi_events.ports.broker import Broker, Requester
from aoi_events.ports.clock import Clock, Dice, SystemClock, SystemDice
from aoi_events.ports.metrics import NO_METRICS, GatewayMetrics, Level

__all__ = ["Gateway", "GatewayHealth"]

_log = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """``ready``: devices can connect, and the broker is there for what they ask."""

    ready: bool
    listening: bool
    broker: bool
    node: str
    connections: int
    sessions: int
    outbox: int
    """Outcomes that wait for the broker."""
    given_up: int
    """Outcomes that were too many to wait."""


class Gateway:
    """Run it once. ``started`` is set when devices can connect, to ``port``.

    ``senders_url`` says where senders reach the worker ``endpoint`` now: what the endpoints of
    browsers begin with, an origin.
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
        self._connections: dict[str, Connection] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._draining = False
        self._outbox = Outbox(broker, self._clock, bound=self.settings.outbox, metrics=metrics)
        self._addresses = Addresses(self.settings)
        self._server = Server(self.settings, self._addresses, self._serve, metrics)
        self._node = Node(
            broker,
            self,
            self._connections,
            clock=self._clock,
            dice=self._dice,
            settings=self.settings,
        )
        self._desk: Desk | None = None
        metrics.watch(
            {
                Level.CONNECTIONS: lambda: len(self._connections),
                Level.SESSIONS: self._sessions,
                Level.OUTBOX: lambda: len(self._outbox),
            }
        )

    # -- life -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve devices until ``stop``, then drain. Cancel it to stop at once.

        Raises ConfigurationError when it cannot listen.
        """
        self.port = await self._server.bind()
        try:
            requester = await _unless(
                stop,
                patiently(self._broker.requester, patience=Patience(), sleep=self._clock.sleep),
            )
            if requester is not None:
                try:
                    await self._run(requester, stop)
                finally:
                    await requester.close()
        finally:
            await self._server.close()

    async def _run(self, requester: Requester, stop: asyncio.Event) -> None:
        desk = self._desk = Desk(
            requester,
            self,
            self.settings,
            self._addresses,
            node_name=lambda: self._node.name,
            outdated=self._node.announce,
        )
        try:
            async with asyncio.TaskGroup() as group:
                node = group.create_task(self._node.run())
                others = [
                    group.create_task(self._node.run_announcements(desk)),
                    group.create_task(self._outbox.run()),
                    group.create_task(self._tick_for_ever()),
                ]
                # The name first: a hello without one would open a session that nobody can reach.
                await _unless(stop, self._node.ready.wait())
                if not stop.is_set():
                    await self._server.accept()
                    self.started.set()
                    _log.info("gateway_listens", host=self.settings.host, port=self.port)
                    await stop.wait()
                    await self._drain(node)
                for task in (node, *others):
                    task.cancel()
        finally:
            for connection in list(self._connections.values()):
                connection.abort()
            await desk.close()

    async def _drain(self, node: asyncio.Task[None]) -> None:
        """Send every device away, and hand over what is to be told about them."""
        _log.info("gateway_drains", connections=len(self._connections))
        self._draining = True
        self._server.refuse()
        try:
            async with asyncio.timeout(self.settings.drain_within):
                for connection in list(self._connections.values()):
                    await self._send_away(connection)
                # Ends by the tick that aborts whoever does not answer the close.
                await self._all_gone.wait()
                await self._node.stop()
                await node
                await self._outbox.flush()
        except TimeoutError:
            _log.warning(
                "gateway_not_drained",
                hint="deadlines settle the rest",
                connections=len(self._connections),
                outbox=len(self._outbox),
            )

    async def _send_away(self, connection: Connection) -> None:
        await connection.perform(
            connection.session.close(
                CloseCode.SERVICE_RESTART,
                "the server restarts; connect again",
                now=self.now(),
            )
        )

    async def _tick_for_ever(self) -> None:
        while True:
            await self._clock.sleep(self.settings.tick)
            self.elapsed += self.settings.tick
            for connection in list(self._connections.values()):
                if connection.due <= self.elapsed:
                    await connection.tick()

    async def health(self) -> GatewayHealth:
        """How it is."""
        broker = await self._broker.healthy()
        listening = self._server.listening
        return GatewayHealth(
            ready=broker and listening and not self._draining,
            listening=listening,
            broker=broker,
            node=self._node.name,
            connections=len(self._connections),
            sessions=self._sessions(),
            outbox=len(self._outbox),
            given_up=self._outbox.given_up,
        )

    def _sessions(self) -> int:
        open_ = State.OPEN
        return sum(each.session.state is open_ for each in self._connections.values())

    # -- what the server and connections call ---------------------------------------------------

    async def _serve(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        session = self._session(socket.ws_protocol)
        connection = Connection(session, socket, transport, settings=self.settings, workers=self)
        self._connections[session.id] = connection
        self._all_gone.clear()
        try:
            if self._draining:
                await self._send_away(connection)
            await connection.serve()
        finally:
            del self._connections[session.id]
            if not self._connections:
                self._all_gone.set()

    def _session(self, protocol: str | None) -> Session:
        name = self._dice.token_hex(8)
        if protocol == WebPushSession.protocol:
            randomness = bytes.fromhex(self._dice.token_hex(32))
            return WebPushSession(
                name,
                self.settings,
                senders_url=self._senders_url(),
                randomness=randomness,
                elapsed=self.elapsed,
            )
        return AoiSession(name, self.settings, elapsed=self.elapsed)

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    async def admit(self, connection: Connection, action: Admit) -> None:
        """Ask whether a client has a secret."""
        if self._desk is not None:
            await self._desk.admit(connection, action)

    async def ask(self, connection: Connection, action: Ask) -> None:
        """Put a device's request to the workers."""
        if self._desk is not None:
            await self._desk.ask(connection, action)

    def report(self, outcome: OutcomeItem) -> None:
        """Tell the outcome worker."""
        self._outbox.report(outcome)

    def leave(self, client: ClientId, epoch: int) -> None:
        """Tell the activation worker."""
        self._outbox.leave(client, epoch)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` returns; None when ``stop`` was set first, and ``work`` is cancelled then."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
