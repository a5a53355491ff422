"""Reports the gateway's open sessions to the workers, many in one request.

Those of a queue with a new name are reported at once, until that is answered. All of them are
reported again in the background: a worker that could not reach the queue may have removed a
presence, and cannot report that to the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from aoi_events.contracts.answers import SessionsConfirmedV1
from aoi_events.contracts.requests import MAX_SESSIONS, ConfirmSessionsV1, OpenSession
from aoi_events.errors import (
    ErrorCode,
    InfrastructureError,
    RequestRefused,
    RequestTimeout,
    UnexpectedAnswer,
)
from aoi_events.gateway.protocol.session import SessionState
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import DeviceConnection, GatewayContext
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.worker_rpc import WorkerRpc
from aoi_events.ports.clock import Clock

_log = get_logger(__name__)
_AT_ONCE: Final = 4
"""Requests of a new name that wait for their answer: a worker writes 2,000 rows at once."""
_PAUSE: Final = 0.5
"""Seconds before sessions that were not answered are announced again."""
_RETRY: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL})
_TOO_LATE: Final = (
    "a worker read the request after its time: are there enough activation workers, and do their "
    "clocks agree with the gateway's?"
)


class Announcer:
    """Announces the sessions of ``connections``, which are those of the gateway by session ID.

    ``node_name`` returns the present name of the gateway's queue. ``unreachable`` is called when
    the store had lost presences of a queue that has kept its name: workers could not reach it.
    """

    def __init__(
        self,
        gateway: GatewayContext,
        connections: Mapping[str, DeviceConnection],
        settings: GatewaySettings,
        *,
        clock: Clock,
        node_name: Callable[[], str],
        unreachable: Callable[[], Awaitable[None]],
    ) -> None:
        self._gateway = gateway
        self._connections = connections
        self._clock = clock
        self._node_name = node_name
        self._unreachable = unreachable
        self._round = settings.announce_every
        self._answer_within = timedelta(seconds=settings.request_within)
        self._waiting: dict[str, DeviceConnection] = {}
        self._wanted = asyncio.Event()
        self._seldom = SeldomLog(_log, now=lambda: gateway.elapsed)

    def announce(self, connections: Iterable[DeviceConnection]) -> None:
        """Announce sessions under the present name, repeatedly until that is answered."""
        self._waiting |= {connection.session.id: connection for connection in connections}
        self._wanted.set()

    async def run(self, rpc: WorkerRpc) -> None:
        """Announce sessions until cancelled, a bounded number at once."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                every = list(self._waiting.values())[: _AT_ONCE * MAX_SESSIONS]
                for connection in every:
                    del self._waiting[connection.session.id]
                await asyncio.gather(*(self._confirm(rpc, part) for part in _parts(every)))
                if any(connection.session.id in self._waiting for connection in every):
                    await self._clock.sleep(_PAUSE)

    async def run_rounds(self, rpc: WorkerRpc) -> None:
        """Report every open session once in each round, until cancelled."""
        while True:
            parts = _parts(list(self._connections.values())) or [[]]
            for part in parts:
                await self._clock.sleep(self._round / len(parts))
                node = self._node_name()
                restored = await self._confirm(rpc, part)
                if restored and node == self._node_name():
                    _log.warning("presences_restored", node=node, sessions=restored)
                    await self._unreachable()

    async def _confirm(self, rpc: WorkerRpc, connections: Sequence[DeviceConnection]) -> int:
        """Report sessions under the present name; those that need it are announced again.

        Returns the number of presences that workers had removed: of sessions that are open still,
        and whose queue had its name before.
        """
        node, now = self._node_name(), self._gateway.now()
        named = {
            session.id: connection
            for connection in connections
            if (session := connection.session).state is SessionState.OPEN
        }
        announced = {name for name, each in named.items() if not each.session.between_epochs}
        sessions = tuple(
            OpenSession(client=session.client, session=session.id, epoch=session.epoch)
            for session in (connection.session for connection in named.values())
            if session.client is not None and session.epoch is not None
        )
        if not sessions:
            return 0
        try:
            answer = await rpc.ask(
                ConfirmSessionsV1(
                    version=1, node=node, sessions=sessions, answer_by=now + self._answer_within
                ),
                SessionsConfirmedV1,
            )
        except (InfrastructureError, RequestTimeout, RequestRefused, UnexpectedAnswer) as error:
            self._seldom.warning("sessions_not_confirmed", sessions=len(sessions), error=str(error))
            if not isinstance(error, RequestRefused) or error.code in _RETRY:
                self.announce(named.values())
            return 0
        restored, again = 0, 0
        for each in answer.changed:
            connection = named[each.session]
            if each.epoch is not None:
                still_open = connection.session.state is SessionState.OPEN
                restored += still_open and each.session in announced
                await self._continue(connection, each.epoch, current=node == self._node_name())
            elif each.code in _RETRY:
                again += 1
                self.announce([connection])
            elif each.code is not None and node == self._node_name():
                await self._end(connection, each.code)
        if again:
            self._seldom.warning(
                "sessions_not_confirmed", kind="too late", sessions=again, error=_TOO_LATE
            )
        if node != self._node_name():
            self.announce(named.values())
        return restored

    async def _continue(self, connection: DeviceConnection, epoch: int, *, current: bool) -> None:
        now, elapsed = self._gateway.now(), self._gateway.elapsed
        await connection.perform(
            connection.session.announced(epoch, elapsed=elapsed, now=now, current=current)
        )

    async def _end(self, connection: DeviceConnection, code: str) -> None:
        now = self._gateway.now()
        await connection.perform(connection.session.announcement_refused(code, now=now))


def _parts(connections: Sequence[DeviceConnection]) -> list[Sequence[DeviceConnection]]:
    return [
        connections[start : start + MAX_SESSIONS]
        for start in range(0, len(connections), MAX_SESSIONS)
    ]
