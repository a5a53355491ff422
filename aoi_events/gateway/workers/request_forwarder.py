"""Forwards the requests of devices to the workers, and the answers to the devices' sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Final

from aoi_events.contracts.answers import ClientConnectedV1, RefusedV1
from aoi_events.contracts.requests import CLIENT_HEADER, ConnectClientV1
from aoi_events.errors import (
    ErrorCode,
    InfrastructureError,
    RequestRefused,
    RequestTimeout,
    UnexpectedAnswer,
)
from aoi_events.gateway.protocol.effects import Admit, ForwardRequest
from aoi_events.gateway.protocol.session import SessionState
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import DeviceConnection, GatewayContext
from aoi_events.platform.limiters import RateLimiter
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.worker_rpc import RequestSlots, TooManyRequests, WorkerRpc
from aoi_events.ports.metrics import Limit

_log = get_logger(__name__)

_TOO_OFTEN: Final = "your network address has made too many; repeat it later"
_CAUSED_BY_DEVICE: Final = frozenset(
    {ErrorCode.UNAUTHENTICATED, ErrorCode.CLIENT_RETIRED, ErrorCode.CONFLICT, ErrorCode.EXPIRED}
)
"""Refusals of a session that no operator can prevent."""
_NO_ANSWER: Final = (InfrastructureError, RequestTimeout)


class RequestForwarder:
    """Sends requests to the workers, a bounded number for all devices together.

    ``node_name`` returns the present name of the gateway's queue, which requests about sessions
    carry. ``outdated`` is called with sessions that were admitted under an earlier name.
    """

    def __init__(
        self,
        rpc: WorkerRpc,
        gateway: GatewayContext,
        settings: GatewaySettings,
        *,
        node_name: Callable[[], str],
        outdated: Callable[[Iterable[DeviceConnection]], None],
    ) -> None:
        self._rpc = rpc
        self._gateway = gateway
        self._answer_within = timedelta(seconds=settings.request_within)
        self._node_name = node_name
        self._outdated = outdated
        self._entries = RateLimiter(rate=settings.entries_per_second, burst=settings.entries_burst)
        self._slots = RequestSlots(
            at_once=settings.requests_at_once, waiting=settings.requests_waiting
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._seldom = SeldomLog(_log, now=lambda: gateway.elapsed)

    # -- what connections call ------------------------------------------------------------------

    async def admit(self, connection: DeviceConnection, effect: Admit) -> None:
        """Ask whether the client has the secret; does not wait for the answer."""
        if self._may_enter(connection):
            self._spawn(self._admit(connection, effect))
        else:
            now = self._gateway.now()
            code = ErrorCode.QUOTA_EXCEEDED
            await connection.perform(connection.session.hello_refused(code, now=now))

    async def forward(self, connection: DeviceConnection, effect: ForwardRequest) -> None:
        """Forward a request of the device; does not wait for the answer."""
        if effect.client is not None or self._may_enter(connection):
            self._spawn(self._forward(connection, effect))
        else:
            answer = RefusedV1(code=ErrorCode.QUOTA_EXCEEDED, message=_TOO_OFTEN).encode()
            await self._answered(connection, effect, "refused.v1", answer)

    def _may_enter(self, connection: DeviceConnection) -> bool:
        """Count a hello or a registration of the device's network; False above the limit."""
        wait = self._entries.take(connection.network, self._gateway.elapsed)
        if wait:
            self._gateway.metrics.refused(Limit.ENTRIES)
        return not wait

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("device_request_failed", exc_info=error)

    async def close(self) -> None:
        """Cancel every request that waits for an answer."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- requests -------------------------------------------------------------------------------

    async def _forward(self, connection: DeviceConnection, effect: ForwardRequest) -> None:
        headers = {} if effect.client is None else {CLIENT_HEADER: effect.client}
        try:
            async with self._slots:
                answer = await self._rpc.call(effect.name, effect.body, headers=headers)
        except (*_NO_ANSWER, TooManyRequests) as error:
            self._log_unanswered(effect.name, error)
            now, elapsed = self._gateway.now(), self._gateway.elapsed
            await connection.perform(
                connection.session.unanswered(effect.id, elapsed=elapsed, now=now)
            )
        else:
            await self._answered(connection, effect, answer.type, answer.body)

    async def _answered(
        self, connection: DeviceConnection, effect: ForwardRequest, name: str | None, body: bytes
    ) -> None:
        now, elapsed = self._gateway.now(), self._gateway.elapsed
        await connection.perform(
            connection.session.answered(effect.id, name, body, elapsed=elapsed, now=now)
        )

    async def _admit(self, connection: DeviceConnection, effect: Admit) -> None:
        session = connection.session
        try:
            async with self._slots:
                if session.state is not SessionState.ADMITTING:
                    # The device disconnected while this waited, and may be back elsewhere.
                    return
                node = self._node_name()
                answer = await self._connect(
                    ConnectClientV1(
                        version=1,
                        client=effect.client,
                        secret=effect.secret,
                        node=node,
                        session=session.id,
                        answer_by=self._gateway.now() + self._answer_within,
                        heard=effect.heard,
                    )
                )
        except TooManyRequests as error:
            self._log_unanswered("client.connected", error)
            answer = None
        now, elapsed = self._gateway.now(), self._gateway.elapsed
        if not isinstance(answer, ClientConnectedV1):
            code = None if answer is None else answer.code
            await connection.perform(session.hello_refused(code, now=now))
            return
        current = node == self._node_name()
        await connection.perform(
            session.admitted(answer, elapsed=elapsed, now=now, current=current)
        )
        if not current:
            self._outdated([connection])

    async def _connect(self, request: ConnectClientV1) -> ClientConnectedV1 | RequestRefused | None:
        """The answer about a session; None when there is none that can be read."""
        try:
            return await self._rpc.ask(request, ClientConnectedV1)
        except RequestRefused as refused:
            self._log_refusal(refused)
            return refused
        except _NO_ANSWER as error:
            self._log_unanswered("client.connected", error)
        except UnexpectedAnswer as error:
            _log.error("unexpected_answer", request="client.connected", error=str(error))
        return None

    def _log_unanswered(self, name: str, error: Exception) -> None:
        if isinstance(error, TooManyRequests):
            self._gateway.metrics.refused(Limit.REQUESTS_WAITING)
        else:
            self._seldom.warning("request_not_answered", kind=name, request=name, error=str(error))

    def _log_refusal(self, refused: RequestRefused) -> None:
        """Log a refusal that an operator can prevent, each code at most once a minute."""
        if refused.code in _CAUSED_BY_DEVICE:
            return
        self._seldom.warning(
            "session_refused", kind=refused.code, code=refused.code, reason=refused.message
        )
