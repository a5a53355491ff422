"""The session of a device that speaks ``aoi.v1``; no I/O, no clock.

The frames are those of :mod:`aoi_events.contracts.device`. Before its hello a device may make
requests named ``client.register``, to get the AOI Client ID that the hello needs.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final, assert_never

from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.device import (
    SUBPROTOCOL,
    AckFrame,
    CloseCode,
    GoodbyeFrame,
    HelloFrame,
    RequestFrame,
    WelcomeFrame,
)
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.close_reasons import reason, shortened
from aoi_events.gateway.protocol.effects import (
    Admit,
    Close,
    Effect,
    ForwardRequest,
    ReportOutcome,
    Send,
)
from aoi_events.gateway.protocol.frames import (
    answer_frame,
    delivery_frame,
    read_frame,
    refusal_frame,
    request_body,
)
from aoi_events.gateway.protocol.outcomes import acknowledged
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.limiters import TokenBucket

_COMMANDS: Final = ("application.register", "application.deregister")
"""A device sends as many of these at once as it has app instances."""
_REGISTRATIONS: Final = 8
"""Registrations that one connection may ask for: one, and some repeats of it."""


class AoiSession(DeviceSession):
    """The session of one connection that speaks ``aoi.v1``."""

    __slots__ = ("_commands", "_registrations", "_unanswered")

    protocol = SUBPROTOCOL

    def __init__(self, name: str, settings: GatewaySettings, *, elapsed: float) -> None:
        super().__init__(name, settings, elapsed=elapsed)
        self._unanswered: list[int] = []
        self._registrations = 0
        self._commands = TokenBucket(rate=settings.frames_per_second, burst=settings.commands_burst)

    # -- from the device ------------------------------------------------------------------------

    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Effect]:
        """A text frame arrived."""
        if self.state is SessionState.CLOSED:
            return []
        try:
            frame = read_frame(data)
        except Refusal as refusal:
            return self._close_undecodable(refusal, now)
        match frame:
            case AckFrame():
                return self._acknowledge(frame, elapsed, now)
            case HelloFrame():
                return self._charge(elapsed, now)[1] or self._hello(frame, now)
            case RequestFrame():
                return self._request(frame, elapsed, now)
            case _:
                assert_never(frame)

    def _hello(self, frame: HelloFrame, now: datetime) -> list[Effect]:
        if self.state is not SessionState.WAITING:
            return self.close(CloseCode.BAD_FRAME, "say hello once, as the first frame", now=now)
        self.state = SessionState.ADMITTING
        self.client = frame.client
        return [Admit(frame.client, frame.secret, frame.heard)]

    def _request(self, frame: RequestFrame, elapsed: float, now: datetime) -> list[Effect]:
        above_limit, stop = self._charge_request(frame, elapsed, now)
        if stop:
            return stop
        if self.state is not SessionState.OPEN and not (
            self.state is SessionState.WAITING and frame.name == "client.register"
        ):
            return self.close(
                CloseCode.BAD_FRAME, "say hello, and wait for the welcome, before requests", now=now
            )
        if self._too_many(above_limit):
            message = "too many requests; wait for answers, then repeat it"
            return [Send(refusal_frame(frame.id, ErrorCode.QUOTA_EXCEEDED, message))]
        client = self.client if self.state is SessionState.OPEN else None
        try:
            body = request_body(frame, client)
        except Refusal as refusal:
            return [Send(refusal_frame(frame.id, refusal.code, refusal.message, refusal.field))]
        self._unanswered.append(frame.id)
        # The time limit for the hello starts again with the answer.
        self._hello_by = math.inf
        return [ForwardRequest(frame.id, frame.name, body, client)]

    def _charge_request(
        self, frame: RequestFrame, elapsed: float, now: datetime
    ) -> tuple[bool, list[Effect]]:
        """Count a request as a frame, unless it is a command within ``commands_burst``."""
        if frame.name in _COMMANDS and not self._commands.take(elapsed):
            return False, []
        return self._charge(elapsed, now)

    def _too_many(self, above_limit: bool) -> bool:
        if self.state is SessionState.WAITING:
            self._registrations += 1
        return (
            above_limit
            or len(self._unanswered) >= self._settings.requests_in_flight
            or self._registrations > _REGISTRATIONS
        )

    def _acknowledge(self, frame: AckFrame, elapsed: float, now: datetime) -> list[Effect]:
        if self.state is not SessionState.OPEN or self.client is None:
            return self.close(
                CloseCode.BAD_FRAME, "wait for the welcome before acknowledging", now=now
            )
        sent = self._window.acknowledged(frame.delivery)
        # Acknowledgements of what was sent are bounded by the window, so only others are counted.
        if sent is None and (stop := self._charge(elapsed, now)[1]):
            return stop
        return [
            ReportOutcome(acknowledged(frame, sent, self.client, now)),
            *self._send_waiting(elapsed, now),
        ]

    # -- from the workers -----------------------------------------------------------------------

    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Effect]:
        """A worker answered a request."""
        return self._answer(request, answer_frame(request, name, body), elapsed)

    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Effect]:
        """No worker could answer a request in time."""
        message = "no answer in time; it may have taken effect, so repeat the same request"
        refusal = refusal_frame(request, ErrorCode.UNAVAILABLE, message)
        return self._answer(request, refusal, elapsed)

    def _answer(self, request: int, frame: bytes, elapsed: float) -> list[Effect]:
        if self.state is SessionState.CLOSED or request not in self._unanswered:
            return []
        self._unanswered.remove(request)
        if not self._unanswered:
            self._hello_by = elapsed + self._settings.hello_within
        return [Send(frame)]

    # -- frames ---------------------------------------------------------------------------------

    def _welcome(self, answer: ClientConnectedV1) -> list[Effect]:
        welcome = WelcomeFrame(
            client=answer.client,
            session=self.id,
            epoch=answer.epoch,
            sequence=answer.sequence,
            ping_every=self._settings.ping_every,
            closed=answer.closed,
            lost=answer.lost,
        )
        return [Send(welcome.encode())]

    def _notification(self, item: DeliverItem) -> bytes:
        return delivery_frame(item)

    def _closing_effects(self, code: CloseCode, message: str) -> list[Effect]:
        goodbye = GoodbyeFrame(code=code, message=shortened(message)).encode()
        return [Send(goodbye), Close(code, reason(message))]
