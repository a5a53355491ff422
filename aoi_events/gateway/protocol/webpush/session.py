"""The session of a browser that speaks ``push-notification``; no I/O, no clock.

Its handshake is in :mod:`aoi_events.gateway.protocol.webpush.handshake`.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from aoi_events.contracts.answers import AnyAnswer, RefusedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.contracts.requests import DeregisterClientV1
from aoi_events.contracts.webpush import (
    AckMessage,
    AckUpdate,
    BroadcastSubscribeMessage,
    HelloMessage,
    NackMessage,
    PingMessage,
    UnregisterMessage,
    UnregisterReply,
)
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.effects import Effect, ReportOutcome, Send
from aoi_events.gateway.protocol.session import SessionState
from aoi_events.gateway.protocol.webpush.acknowledging import outcome
from aoi_events.gateway.protocol.webpush.commands import (
    check_command,
    command_request,
    read_command,
)
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
        if self.state is SessionState.ADMITTING and not self._unregistered:
            return self._await_hello(data, elapsed, now)
        try:
            message = read_message(data)
        except Refusal as refusal:
            return self._close_undecodable(refusal, now)
        if isinstance(message, HelloMessage):
            stop = self._charge(elapsed, now)[1]
            in_turn = self.state is SessionState.WAITING
            return stop or (self._hello(message, now) if in_turn else self._out_of_turn(now))
        if self.state is not SessionState.OPEN and not self._unregistered:
            return self._out_of_turn(now)
        if isinstance(message, AckMessage):
            return self._acknowledge(message, elapsed, now)
        if isinstance(message, Command):
            return self._command(message, data, elapsed, now)
        if stop := self._charge(elapsed, now)[1]:
            return stop
        match message:
            case PingMessage():
                return [Send(PONG)]
            case NackMessage() | BroadcastSubscribeMessage():
                # A nack follows an acknowledgement, and reports a fault of a service worker. There
                # are no broadcasts, as the reply to the hello says.
                return []
            case _:
                assert_never(message)

    def _await_hello(self, data: str | bytes, elapsed: float, now: datetime) -> list[Effect]:
        """Queue a frame of a browser that does not wait for the answer to its hello."""
        if self._queue.push(data, elapsed):
            return []
        return self.close(CloseCode.TOO_MANY, "wait for the answer to the hello", now=now)

    def _hello_answered(self, now: datetime) -> list[Effect]:
        effects: list[Effect] = []
        for frame in self._queue.clear():
            effects += self.received(frame.data, elapsed=frame.since, now=now)
        return effects

    def _out_of_turn(self, now: datetime) -> list[Effect]:
        return self.close(CloseCode.BAD_FRAME, "say hello once, as the first message", now=now)

    def _command(
        self, command: Command, data: str | bytes, elapsed: float, now: datetime
    ) -> list[Effect]:
        registered, idle = self.state is SessionState.OPEN, not self._queue
        try:
            check_command(command)
        except Refusal as refusal:
            return self._reply(refusal_reply(command, refusal.code), elapsed, now)
        if isinstance(command, UnregisterMessage) and idle and not registered:
            # An unregistered browser has no subscription to end.
            gone = UnregisterReply(channel=command.channel, status=200)
            return self._reply(gone.encode(), elapsed, now)
        if not self._queue.push(data, elapsed):
            return self._reply(refusal_reply(command, ErrorCode.QUOTA_EXCEEDED), elapsed, now)
        if registered:
            return self._send_commands(elapsed, now)
        return [self._register()] if idle else []

    def _reply(self, reply: bytes, elapsed: float, now: datetime) -> list[Effect]:
        """Reply to a command that is not queued, and so counts as a frame."""
        return self._charge(elapsed, now)[1] or [Send(reply)]

    def _send_commands(self, elapsed: float, now: datetime) -> list[Effect]:
        effects: list[Effect] = []
        most = self._settings.requests_in_flight
        while self.state is SessionState.OPEN and len(self._pending) < most:
            frame = self._queue.pull(elapsed)
            if frame is None:
                break
            effects += self._forward_command(read_command(frame.data), now)
        return effects

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
        if self._window.acknowledged(update.version) is not None and self._client_end is not None:
            self._client_end.acknowledged()
        return [ReportOutcome(reported)]

    # -- from the workers -----------------------------------------------------------------------

    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Effect]:
        """A worker answered a request."""
        return self._answer(request, read_answer(name, body), elapsed, now)

    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Effect]:
        """No worker could answer a request in time."""
        refused = RefusedV1(code=ErrorCode.UNAVAILABLE, message="no answer in time")
        return self._answer(request, refused, elapsed, now)

    def _answer(
        self, request: int, answer: AnyAnswer | None, elapsed: float, now: datetime
    ) -> list[Effect]:
        waited = self._pending.pop(request, None)
        if waited is None or self.state is SessionState.CLOSED:
            return []
        if isinstance(waited, Stage):
            effects = self._stage_answered(waited, answer, elapsed, now)
        else:
            effects = [Send(reply(waited, answer, endpoints=f"{self._senders_url}/wpush/v1/"))]
        return [*effects, *self._send_commands(elapsed, now)]

    def deliver(self, item: DeliverItem, *, elapsed: float, now: datetime) -> list[Effect]:
        """A step of a delivery arrived; a browser would drop content that is not encrypted."""
        if item.content.data and item.content.encryption is None and self._is_recipient(item):
            why = "a browser takes encrypted content only"
            return [ReportOutcome(item.outcome(OutcomeKind.DISCARDED, now, detail=why))]
        return super().deliver(item, elapsed=elapsed, now=now)

    def _notification(self, item: DeliverItem) -> bytes:
        return notification_message(item)

    # -- time ------------------------------------------------------------------------------------

    def due(self) -> float | None:
        """When :meth:`tick` should be called, in seconds since the gateway started."""
        due = [super().due()]
        if self.state is SessionState.OPEN:
            due.append(self._queue.due())
        if self.state is SessionState.OPEN and self._client_end is not None:
            due.append(self._client_end.due())
        return min((at for at in due if at is not None), default=None)

    def tick(self, *, elapsed: float, now: datetime) -> list[Effect]:
        """Time has passed: apply the limits that are due."""
        effects = super().tick(elapsed=elapsed, now=now)
        if self.state is not SessionState.OPEN:
            return effects
        for frame in self._queue.expire(elapsed):
            refused = refusal_reply(read_command(frame.data), ErrorCode.UNAVAILABLE)
            effects.append(Send(refused))
        return [*effects, *self._send_commands(elapsed, now), *self._end_client(elapsed)]

    def _end_client(self, elapsed: float) -> list[Effect]:
        """Ask the workers to end the client of a browser that lost notifications, if it is due."""
        end = self._client_end
        if end is None or self.client is None or elapsed < end.due():
            return []
        in_flight = self._window.oldest() is not None
        if in_flight:
            end.in_flight(elapsed)
        overdue = end.overdue(elapsed)
        no_room = len(self._pending) >= self._settings.requests_in_flight
        if no_room or (in_flight and not overdue):
            end.wait(elapsed)
            return []
        end.asked()
        request = DeregisterClientV1(
            version=1, client=self.client, drained=None if overdue else True
        )
        return [self._request(Stage.RETIRING, "client.deregister", request, self.client)]
