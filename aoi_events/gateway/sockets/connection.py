"""One device's WebSocket: reads frames into its session and does what the session wants.

Nothing here waits for the device except reading: frames are written into the transport's buffer,
whose size is looked at after each turn, so that a device that does not read costs a bounded amount
of memory and nobody else's time.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, assert_never

from aiohttp import WSMsgType, web

from aoi_events.contracts.device import MAX_FRAME, CloseCode
from aoi_events.contracts.envelopes import OutcomeItem
from aoi_events.contracts.identifiers import ClientId
from aoi_events.gateway.protocol.actions import Action, Admit, Ask, Close, Leave, Report, Send
from aoi_events.gateway.protocol.session import Session
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.addresses import address_of
from aoi_events.platform.logs import get_logger
from aoi_events.ports.metrics import GatewayMetrics

__all__ = ["Connection", "Workers", "websocket"]

_log = get_logger(__name__)
_NEVER_WAIT: Final = 2**62
_CLOSE_CODE: Final = struct.Struct("!H")


class Workers(Protocol):
    """What a connection needs of the gateway."""

    elapsed: float
    """Seconds of the gateway's life, as its ticks count them."""
    metrics: GatewayMetrics

    def now(self) -> datetime:
        """The clock's time."""

    async def admit(self, connection: Connection, action: Admit) -> None:
        """See :class:`Admit`; does not wait for the answer."""

    async def ask(self, connection: Connection, action: Ask) -> None:
        """See :class:`Ask`; does not wait for the answer."""

    def report(self, outcome: OutcomeItem) -> None:
        """See :class:`Report`."""

    def leave(self, client: ClientId, epoch: int) -> None:
        """See :class:`Leave`."""


def websocket(protocols: Iterable[str]) -> web.WebSocketResponse:
    """A WebSocket that speaks one of ``protocols``, and leaves pings, closing and slow readers to
    :class:`Connection`.
    """
    return web.WebSocketResponse(
        protocols=protocols,
        compress=False,
        # aiohttp refuses from this size on.
        max_msg_size=MAX_FRAME + 1,
        autoping=False,
        autoclose=False,
        writer_limit=_NEVER_WAIT,
    )


class Connection:
    """``due``: when :meth:`tick` has something to do, in seconds of the gateway's life.

    ``address`` is the network address of the device.
    """

    __slots__ = (
        "_close_by",
        "_ended",
        "_heard_at",
        "_pinged_at",
        "_settings",
        "_socket",
        "_transport",
        "_workers",
        "address",
        "due",
        "session",
    )

    def __init__(
        self,
        session: Session,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        settings: GatewaySettings,
        workers: Workers,
    ) -> None:
        self.session = session
        self.address = address_of(transport)
        self._socket = socket
        self._transport = transport
        self._settings = settings
        self._workers = workers
        self._heard_at = workers.elapsed
        self._pinged_at: float | None = None
        self._close_by: float | None = None
        self._ended: tuple[str | None, int | None] = (None, None)
        self.due = 0.0
        self._plan()

    async def serve(self) -> None:
        """Read until the connection is over."""
        try:
            while await self._read():
                pass
        finally:
            await self.perform(self.session.lost(now=self._workers.now()))
            self._workers.metrics.closed(*self._ended)
            self._hang_up()

    async def _read(self) -> bool:
        message = await self._socket.receive()
        self._workers.metrics.frame_received()
        self._heard_at = self._workers.elapsed
        self._pinged_at = None
        elapsed, now = self._workers.elapsed, self._workers.now()
        match message.type:
            case WSMsgType.TEXT:
                await self.perform(self.session.received(message.data, elapsed=elapsed, now=now))
            case WSMsgType.BINARY:
                await self.perform(self.session.received_binary(now=now))
            case WSMsgType.PING:
                if self._close_by is None:
                    await self._write(message.data, WSMsgType.PONG)
                await self.perform(self.session.received_control(elapsed=elapsed, now=now))
            case WSMsgType.PONG:
                await self.perform(self.session.received_control(elapsed=elapsed, now=now))
            case WSMsgType.CLOSE:
                if self._close_by is None:
                    self._ended = ("device", message.data)
                    await self._write_close(CloseCode.NORMAL, "")
                return False
            case _:
                return False
        return True

    async def perform(self, actions: Sequence[Action]) -> None:
        """Do what the session wants, in order. Never waits."""
        for action in actions:
            match action:
                case Send(frame):
                    await self._write(frame, WSMsgType.TEXT)
                case Ask():
                    await self._workers.ask(self, action)
                case Admit():
                    await self._workers.admit(self, action)
                case Report(outcome):
                    self._workers.report(outcome)
                case Leave(client, epoch):
                    self._workers.leave(client, epoch)
                case Close(code, reason):
                    self._tell("device sent away", code=code)
                    if self._ended[0] is None:
                        self._ended = ("server", code)
                    await self._write_close(code, reason)
                    self._close_by = self._workers.elapsed + self._settings.close_within
                case _:
                    assert_never(action)
        self._plan()
        unread = self._transport.get_write_buffer_size()
        if unread > self._settings.write_buffer and self._close_by is None:
            await self.perform(
                self.session.close(
                    CloseCode.TOO_SLOW, "you do not read what is sent", now=self._workers.now()
                )
            )

    async def tick(self) -> None:
        """Time has passed: ask for a sign of life, or stop waiting for something."""
        elapsed = self._workers.elapsed
        if self._close_by is not None:
            if elapsed >= self._close_by:
                self._transport.abort()
        elif self._pinged_at is not None and elapsed >= self._silent_until():
            self._tell("device is silent")
            self._transport.abort()
        else:
            if self._pinged_at is None and elapsed >= self._silent_until():
                self._pinged_at = elapsed
                await self._write(b"", WSMsgType.PING)
            await self.perform(self.session.tick(elapsed=elapsed, now=self._workers.now()))
        self._plan()

    def _silent_until(self) -> float:
        """Until when silence is fine; then a ping, or the end, is due."""
        if self._pinged_at is not None:
            return self._pinged_at + self._settings.pong_within
        return self._heard_at + self._settings.ping_every

    def _plan(self) -> None:
        if self._close_by is not None:
            self.due = self._close_by
            return
        silence, due = self._silent_until(), self.session.due()
        self.due = silence if due is None else min(silence, due)

    def abort(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    def _hang_up(self) -> None:
        self.due = math.inf
        self._transport.close()
        if self._transport.get_write_buffer_size():
            # Closing waits until the device has read everything, which it need not ever do.
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.close_within, self._transport.abort)

    async def _write(self, payload: bytes, kind: WSMsgType) -> None:
        try:
            await self._socket.send_frame(payload, kind)
        except ConnectionError:
            # The connection is on its way out, which whoever reads from it is told as well.
            return
        self._workers.metrics.frame_sent()

    async def _write_close(self, code: int, reason: str) -> None:
        await self._write(_CLOSE_CODE.pack(code) + reason.encode(), WSMsgType.CLOSE)

    def _tell(self, event: str, **more: Any) -> None:
        _log.info(event, client=self.session.client, session=self.session.id, **more)
