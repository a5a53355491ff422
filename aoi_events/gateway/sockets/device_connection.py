"""One device's WebSocket: passes frames to its session, and performs the session's effects.

Only reading waits for the device. Frames are written into the transport's buffer, whose size is
checked after each input, so that a device that does not read costs a bounded amount of memory and
delays no other device.
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
from aoi_events.gateway.protocol.effects import (
    Admit,
    Close,
    Effect,
    EndPresence,
    ForwardRequest,
    ReportOutcome,
    Send,
)
from aoi_events.gateway.protocol.session import DeviceSession
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.logs import get_logger
from aoi_events.platform.sockets import abort, peer_network, unsent
from aoi_events.ports.metrics import GatewayMetrics

_log = get_logger(__name__)
_NEVER_WAIT: Final = 2**62
_CLOSE_CODE: Final = struct.Struct("!H")


class GatewayContext(Protocol):
    """The gateway, as its connections use it."""

    elapsed: float
    """Seconds since the gateway started, as its ticks count them."""
    metrics: GatewayMetrics

    def now(self) -> datetime:
        """The clock's time."""

    async def admit(self, connection: DeviceConnection, effect: Admit) -> None:
        """See :class:`Admit`; does not wait for the answer."""

    async def forward(self, connection: DeviceConnection, effect: ForwardRequest) -> None:
        """See :class:`ForwardRequest`; does not wait for the answer."""

    def report(self, outcome: OutcomeItem) -> None:
        """See :class:`ReportOutcome`."""

    def end_presence(self, client: ClientId, epoch: int) -> None:
        """See :class:`EndPresence`."""


def websocket(protocols: Iterable[str]) -> web.WebSocketResponse:
    """A WebSocket that speaks one of ``protocols``.

    :class:`DeviceConnection` answers pings and closes, and bounds slow readers.
    """
    return web.WebSocketResponse(
        protocols=protocols,
        compress=False,
        # aiohttp refuses messages of this size and above.
        max_msg_size=MAX_FRAME + 1,
        autoping=False,
        autoclose=False,
        writer_limit=_NEVER_WAIT,
    )


class DeviceConnection:
    """The connection of one device.

    :meth:`tick` should be called at ``due``, in seconds since the gateway started. ``network`` is
    the network address of the device.
    """

    __slots__ = (
        "_close_by",
        "_ended",
        "_gateway",
        "_pinged_at",
        "_received_at",
        "_sent_at",
        "_settings",
        "_socket",
        "_transport",
        "due",
        "network",
        "session",
    )

    def __init__(
        self,
        session: DeviceSession,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        settings: GatewaySettings,
        gateway: GatewayContext,
    ) -> None:
        self.session = session
        self.network = peer_network(transport)
        self._socket = socket
        self._transport = transport
        self._settings = settings
        self._gateway = gateway
        self._received_at = self._sent_at = gateway.elapsed
        self._pinged_at: float | None = None
        self._close_by: float | None = None
        self._ended: tuple[str | None, int | None] = (None, None)
        self.due = 0.0
        self._schedule()

    async def serve(self) -> None:
        """Read frames until the connection ends."""
        try:
            while await self._read():
                pass
        finally:
            await self.perform(self.session.lost(now=self._gateway.now()))
            self._gateway.metrics.closed(*self._ended)
            self._close_transport()

    async def _read(self) -> bool:
        message = await self._socket.receive()
        self._gateway.metrics.frame_received()
        self._received_at = self._gateway.elapsed
        self._pinged_at = None
        elapsed, now = self._gateway.elapsed, self._gateway.now()
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

    async def perform(self, effects: Sequence[Effect]) -> None:
        """Perform effects of the session in order. Never waits for the device."""
        for effect in effects:
            match effect:
                case Send(frame):
                    await self._write(frame, WSMsgType.TEXT)
                case ForwardRequest():
                    await self._gateway.forward(self, effect)
                case Admit():
                    await self._gateway.admit(self, effect)
                case ReportOutcome(outcome):
                    self._gateway.report(outcome)
                case EndPresence(client, epoch):
                    self._gateway.end_presence(client, epoch)
                case Close(code, reason):
                    self._log("device_connection_closed", code=code)
                    if self._ended[0] is None:
                        self._ended = ("server", code)
                    await self._write_close(code, reason)
                    self._close_by = self._gateway.elapsed + self._settings.close_within
                case _:
                    assert_never(effect)
        self._schedule()
        unread = unsent(self._transport)
        if unread > self._settings.write_buffer and self._close_by is None:
            await self.perform(
                self.session.close(
                    CloseCode.TOO_SLOW, "you do not read what is sent", now=self._gateway.now()
                )
            )

    async def tick(self) -> None:
        """Time has passed: ping after silence in either direction, and apply the limits that are
        due.
        """
        elapsed = self._gateway.elapsed
        if self._close_by is not None:
            if elapsed >= self._close_by:
                abort(self._transport)
        elif self._pinged_at is not None and elapsed >= self._silent_until():
            self._log("device_timed_out")
            abort(self._transport)
        else:
            if self._pinged_at is None and elapsed >= self._silent_until():
                self._pinged_at = elapsed
                await self._write(b"", WSMsgType.PING)
            await self.perform(self.session.tick(elapsed=elapsed, now=self._gateway.now()))
        self._schedule()

    def _silent_until(self) -> float:
        """When a ping is due; after a ping, when the connection counts as lost."""
        if self._pinged_at is not None:
            return self._pinged_at + self._settings.pong_within
        # A device takes the silence of a gateway as a sign that the connection is dead.
        return min(self._received_at, self._sent_at) + self._settings.ping_every

    def _schedule(self) -> None:
        if self._close_by is not None:
            self.due = self._close_by
            return
        silence, due = self._silent_until(), self.session.due()
        self.due = silence if due is None else min(silence, due)

    def abort(self) -> None:
        """End the connection without a close frame."""
        abort(self._transport)

    def _close_transport(self) -> None:
        self.due = math.inf
        self._transport.close()
        if unsent(self._transport):
            # Closing waits until the device has read everything, which may never happen.
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.close_within, abort, self._transport)

    async def _write(self, payload: bytes, kind: WSMsgType) -> None:
        try:
            await self._socket.send_frame(payload, kind)
        except ConnectionError:
            # The connection is ending; the reading task sees that, too.
            return
        self._sent_at = self._gateway.elapsed
        self._gateway.metrics.frame_sent()

    async def _write_close(self, code: int, reason: str) -> None:
        await self._write(_CLOSE_CODE.pack(code) + reason.encode(), WSMsgType.CLOSE)

    def _log(self, event: str, **more: Any) -> None:
        _log.info(event, client=self.session.client, session=self.session.id, **more)
