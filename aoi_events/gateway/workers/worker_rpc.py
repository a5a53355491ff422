"""Puts what devices ask to the workers, and brings the answers back; bounded over all devices."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from aoi_events.contracts.answers import ClientConnectedV1, RefusedV1
from aoi_events.contracts.requests import CLIENT_HEADER, ConnectClientV1
from aoi_events.errors import ErrorCode, InfrastructureError, RequestTimeout
from aoi_events.gateway.protocol.actions import Admit, Ask
from aoi_events.gateway.protocol.session import State
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.addresses import Addresses
from aoi_events.gateway.sockets.connection import Connection, Workers
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Inbound, Outbound, Requester
from aoi_events.ports.metrics import Limit
from aoi_events.topology import REQUESTS

__all__ = ["Desk"]

_log = get_logger(__name__)

_TOO_OFTEN = "your network address has made too many; repeat it later"
_OF_THE_DEVICE = frozenset(
    {ErrorCode.UNAUTHENTICATED, ErrorCode.CLIENT_RETIRED, ErrorCode.CONFLICT, ErrorCode.EXPIRED}
)
"""Refusals of a session that are no fault of the installation."""
_COMPLAIN_EVERY = 60.0
"""Seconds between two lines about refusals of one code."""
_LATER = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL})


class Desk:
    """``node_name`` tells the present name of the node, which requests about sessions carry.

    ``addresses`` limits hellos and registrations. ``outdated`` is told of sessions that were
    admitted under a name that was gone by then.
    """

    def __init__(
        self,
        requester: Requester,
        workers: Workers,
        settings: GatewaySettings,
        addresses: Addresses,
        *,
        node_name: Callable[[], str],
        outdated: Callable[[Connection], None],
    ) -> None:
        self._node_name = node_name
        self._outdated = outdated
        self._requester = requester
        self._workers = workers
        self._settings = settings
        self._addresses = addresses
        self._turns = asyncio.Semaphore(settings.requests_at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained: dict[str, float] = {}

    # -- what connections call ------------------------------------------------------------------

    async def admit(self, connection: Connection, action: Admit) -> None:
        """Ask whether the client has the secret; returns at once."""
        code: str | None = None
        if not self._may_enter(connection):
            code = ErrorCode.QUOTA_EXCEEDED
        elif self._spawn(lambda: self._admit(connection, action)):
            return
        await connection.perform(connection.session.turned_away(code, now=self._workers.now()))

    async def ask(self, connection: Connection, action: Ask) -> None:
        """Ask what the device asks; returns at once."""
        session = connection.session
        now, elapsed = self._workers.now(), self._workers.elapsed
        if action.client is None and not self._may_enter(connection):
            answer = RefusedV1(code=ErrorCode.QUOTA_EXCEEDED, message=_TOO_OFTEN).encode()
            await connection.perform(
                session.answered(action.id, "refused.v1", answer, elapsed=elapsed, now=now)
            )
        elif not self._spawn(lambda: self._ask(connection, action)):
            await connection.perform(session.unanswered(action.id, elapsed=elapsed, now=now))

    def _may_enter(self, connection: Connection) -> bool:
        may = self._addresses.enter(connection.address, self._workers.elapsed)
        if not may:
            self._workers.metrics.refused(Limit.ENTRIES)
        return may

    def _spawn(self, make: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        settings = self._settings
        if len(self._tasks) >= settings.requests_at_once + settings.requests_waiting:
            self._workers.metrics.refused(Limit.REQUESTS_WAITING)
            return False
        task = asyncio.get_running_loop().create_task(make())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("device_request_failed", exc_info=error)

    async def close(self) -> None:
        """Give up whatever waits for an answer."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- requests -------------------------------------------------------------------------------

    async def _ask(self, connection: Connection, action: Ask) -> None:
        headers: dict[str, str] = {}
        if action.client is not None:
            headers[CLIENT_HEADER] = action.client
        session = connection.session
        answer = await self._call(action.name, lambda _: action.body, headers)
        now, elapsed = self._workers.now(), self._workers.elapsed
        if answer is None:
            actions = session.unanswered(action.id, elapsed=elapsed, now=now)
        else:
            actions = session.answered(
                action.id, answer.type, answer.body, elapsed=elapsed, now=now
            )
        await connection.perform(actions)

    async def _admit(self, connection: Connection, action: Admit) -> None:
        session = connection.session
        node = ""

        def ask(answer_by: datetime) -> bytes | None:
            nonlocal node
            if session.state is not State.ADMITTING:
                # It waited for its turn, and the device is gone, perhaps to be back elsewhere.
                return None
            node = self._node_name()
            return ConnectClientV1(
                version=1,
                client=action.client,
                secret=action.secret,
                node=node,
                session=session.id,
                answer_by=answer_by,
                heard=action.heard,
            ).encode()

        answer = await self._connect(ask)
        now, elapsed = self._workers.now(), self._workers.elapsed
        if isinstance(answer, ClientConnectedV1):
            current = node == self._node_name()
            await connection.perform(
                session.admitted(answer, elapsed=elapsed, now=now, current=current)
            )
            if not current:
                self._outdated(connection)
        else:
            if answer is not None:
                self._complain(answer)
            code = None if answer is None else answer.code
            await connection.perform(session.turned_away(code, now=now))

    async def announce(self, connection: Connection) -> bool:
        """Tell the workers that a session goes on under the present name of the node.

        False: nobody could say, or the name has changed again; announce it again.
        """
        session, node = connection.session, self._node_name()
        client, epoch = session.client, session.epoch
        if client is None or epoch is None:
            return True

        def ask(answer_by: datetime) -> bytes:
            return ConnectClientV1(
                version=1,
                client=client,
                epoch=epoch,
                node=node,
                session=session.id,
                answer_by=answer_by,
            ).encode()

        answer = await self._connect(ask)
        now, elapsed = self._workers.now(), self._workers.elapsed
        if isinstance(answer, RefusedV1):
            self._complain(answer)
        if answer is None or (isinstance(answer, RefusedV1) and answer.code in _LATER):
            return False
        if isinstance(answer, RefusedV1):
            await connection.perform(session.displaced(answer.code, now=now))
            return True
        current = node == self._node_name()
        await connection.perform(
            session.announced(answer, elapsed=elapsed, now=now, current=current)
        )
        return current

    def _complain(self, refused: RefusedV1) -> None:
        """Tell the operator of what no device can mend, each kind once in a while."""
        if refused.code in _OF_THE_DEVICE:
            return
        elapsed = self._workers.elapsed
        if elapsed < self._complained.get(refused.code, -math.inf) + _COMPLAIN_EVERY:
            return
        self._complained[refused.code] = elapsed
        _log.warning("session_refused", code=refused.code, reason=refused.message)

    async def _connect(
        self, ask: Callable[[datetime], bytes | None]
    ) -> ClientConnectedV1 | RefusedV1 | None:
        answer = await self._call("client.connected", ask, {})
        if answer is None:
            return None
        kinds: dict[str | None, type[ClientConnectedV1 | RefusedV1]] = {
            "client.connected.v1": ClientConnectedV1,
            "refused.v1": RefusedV1,
        }
        try:
            return kinds[answer.type].decode(answer.body)
        except (KeyError, ValidationError):
            _log.error("admission_unanswered", type=answer.type)
            return None

    async def _call(
        self, name: str, ask: Callable[[datetime], bytes | None], headers: dict[str, str]
    ) -> Inbound | None:
        """``ask`` makes the body when its turn has come, knowing until when an answer is awaited;
        None if there is nothing to ask any more.
        """
        async with self._turns:
            within = self._settings.request_within
            body = ask(self._workers.now() + timedelta(seconds=within))
            if body is None:
                return None
            request = Outbound(exchange=REQUESTS, routing_key=name, body=body, headers=headers)
            try:
                return await self._requester.call(request, timeout=within)
            except (InfrastructureError, RequestTimeout) as error:
                _log.warning("workers_silent", request=name, error=str(error))
                return None
