"""The session of a browser that speaks ``push-notification``; no I/O, no clock.

Its handshake is in :mod:`aoi_events.gateway.protocol.webpush.handshake`.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from aoi_events.contracts.answers import AnyAnswer, RefusedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.contracts.webpush import (
    AckMessage,
    AckUpdate,
    BroadcastSubscribeMessage,
    HelloMessage,
    NackMessage,
    PingMessage,
    RegisterMessage,
    UnregisterMessage,
)
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.effects import Effect, ReportOutcome, Send
from aoi_events.gateway.protocol.session import SessionState
from aoi_events.gateway.protocol.webpush.acknowledging import outcome
from aoi_events.gateway.protocol.webpush.commands import check_command, command_request
from aoi_events.gateway.protocol.webpush.handshake import Handshake, Stage
from aoi_events.gateway.protocol.webpush.messages import PONG, notification_message, read_message
from aoi_events.gateway.protocol.webpush.replies import Command, read_answer, refusal_reply, reply
from aoi_events.gateway.settings import GatewaySettings


class WebPushSession(Handshake):
    """The session of one connection that speaks ``push-notification``.

    ``senders_url`` is the origin of the endpoints that browsers get for their subscriptions.
    """

    __slots__ = ("_senders_url",)

    def __init__(
        self,
        name: str,
        settings: GatewaySettings,
        *,
        senders_url: str,
        randomness: bytes,
        elapsed: float,
    ) -> None:
        super().__init__(name, settings, randomness=randomness, elapsed=elapsed)
        self._senders_url = senders_url

    # -- from the browser -----------------------------------------------------------------------

    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Effect]:
        """A text frame arrived."""
        if self.state is SessionState.CLOSED:
            return []
        try:
            message = read_message(data)
        except Refusal as refusal:
            return self._close_undecodable(refusal, now)
        if isinstance(message, HelloMessage):
            stop = self._charge(elapsed, now)[1]
            in_turn = self.state is SessionState.WAITING
            return stop or (self._hello(message) if in_turn else self._out_of_turn(now))
        if self.state is not SessionState.OPEN and not self._unregistered:
            return self._out_of_turn(now)
        if isinstance(message, AckMessage):
            return self._acknowledge(message, elapsed, now)
        above_limit, stop = self._charge(elapsed, now)
        if stop:
            return stop
        match message:
            case RegisterMessage() | UnregisterMessage():
                return self._command(message, above_limit, now)
            case PingMessage():
                return [Send(PONG)]
            case NackMessage() | BroadcastSubscribeMessage():
                # A nack follows an acknowledgement, and reports a fault of a service worker. There
                # are no broadcasts, as the reply to the hello says.
                return []
            case _:
                assert_never(message)

    def _out_of_turn(self, now: datetime) -> list[Effect]:
        return self.close(
            CloseCode.BAD_FRAME, "say hello once, first, and wait for the answer", now=now
        )

    def _command(self, command: Command, above_limit: bool, now: datetime) -> list[Effect]:
        in_flight = len(self._pending) + len(self._waiting)
        if above_limit or in_flight >= self._settings.requests_in_flight:
            return [Send(refusal_reply(command, ErrorCode.QUOTA_EXCEEDED))]
        try:
            check_command(command)
        except Refusal as refusal:
            return [Send(refusal_reply(command, refusal.code))]
        return (
            self._forward_command(command, now)
            if self.state is SessionState.OPEN
            else self._command_unregistered(command)
        )

    def _forward_command(self, command: Command, now: datetime) -> list[Effect]:
        """Forward a command to the workers."""
        if not self._numbers_left() or self.client is None or self.epoch is None:
            return self.close(CloseCode.SERVICE_RESTART, "connect again to go on", now=now)
        name, request = command_request(command, self.client, self._number(self.epoch))
        return [self._request(command, name, request, self.client)]

    def _acknowledge(self, message: AckMessage, elapsed: float, now: datetime) -> list[Effect]:
        effects: list[Effect] = []
        # Acknowledgements of what was sent are bounded by the window, so only others are counted.
        if not message.updates:
            return self._charge(elapsed, now)[1]
        for update in message.updates:
            sent = self._window.in_flight(update.version)
            if sent is None and (stop := self._charge(elapsed, now)[1]):
                return [*effects, *stop]
            effects += self._acknowledged(update, now)
        return [*effects, *self._send_waiting(elapsed, now)]

    def _acknowledged(self, update: AckUpdate, now: datetime) -> list[Effect]:
        # An unregistered browser acknowledges notifications of an earlier client.
        if self.client is None or self.state is not SessionState.OPEN:
            return []
        reported = outcome(update, self._window.in_flight(update.version), self.client, now)
        if reported is None:
            return []
        self._window.acknowledged(update.version)
        return [ReportOutcome(reported)]

    # -- from the workers -----------------------------------------------------------------------

    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Effect]:
        """A worker answered a request."""
        return self._answer(request, read_answer(name, body), now)

    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Effect]:
        """No worker could answer a request in time."""
        refused = RefusedV1(code=ErrorCode.UNAVAILABLE, message="no answer in time")
        return self._answer(request, refused, now)

    def _answer(self, request: int, answer: AnyAnswer | None, now: datetime) -> list[Effect]:
        waited = self._pending.pop(request, None)
        if waited is None or self.state is SessionState.CLOSED:
            return []
        if isinstance(waited, Stage):
            return self._stage_answered(waited, answer, now)
        endpoints = f"{self._senders_url}/wpush/v1/"
        return [Send(reply(waited, answer, endpoints=endpoints))]

    def deliver(self, item: DeliverItem, *, elapsed: float, now: datetime) -> list[Effect]:
        """A step of a delivery arrived; a browser would drop content that is not encrypted."""
        if item.content.data and item.content.encryption is None and self._is_recipient(item):
            why = "a browser takes encrypted content only"
            return [ReportOutcome(item.outcome(OutcomeKind.DISCARDED, now, detail=why))]
        return super().deliver(item, elapsed=elapsed, now=now)

    def _notification(self, item: DeliverItem) -> bytes:
        return notification_message(item)
