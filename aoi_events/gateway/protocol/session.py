"""The session of one device, as far as all device protocols share it; no I/O, no clock.

Theory of operation. An input is a method call with the time; the effects that it returns are
performed in order. A subclass adds the frames of its protocol and their order. This class decides
which client a session belongs to, which deliveries are in flight to it, and how it ends::

    WAITING    for a hello; none in time -> CLOSED
    ADMITTING  admitted -> OPEN; hello refused -> CLOSED; deliveries wait; the device must wait, too
    OPEN       requests, acknowledgements and deliveries
    CLOSED     final; inputs have no effect, but a presence that is assigned too late is ended

When the gateway's queue gets a new name, each open session is *between epochs* until its
announcement is answered; deliveries for the next epoch wait meanwhile. The end of a session reports
deliveries in flight as *route lost*, so that their next step starts at once.

There are two kinds of time: ``elapsed`` counts the seconds since the gateway started and never
jumps, for limits and time-outs; ``now`` is the clock's time, for expiry and reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from enum import Enum
from typing import ClassVar

from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.contracts.identifiers import ClientId
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.close_reasons import announcement_refused, hello_refused
from aoi_events.gateway.protocol.effects import Effect, EndPresence, ReportOutcome, Send
from aoi_events.gateway.protocol.outcomes import about, route_lost
from aoi_events.gateway.protocol.window import Window
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.limiters import TokenBucket


class SessionState(Enum):
    """The state of a session; see the head of this module."""

    WAITING = "waiting"
    ADMITTING = "admitting"
    OPEN = "open"
    CLOSED = "closed"


class DeviceSession(ABC):
    """The session of one connection. ``id`` is never used again."""

    __slots__ = (
        "_bucket",
        "_hello_by",
        "_settings",
        "_window",
        "between_epochs",
        "client",
        "epoch",
        "id",
        "state",
    )

    protocol: ClassVar[str]
    """The WebSocket subprotocol."""

    def __init__(self, name: str, settings: GatewaySettings, *, elapsed: float) -> None:
        self.id = name
        self.state = SessionState.WAITING
        self.client: ClientId | None = None
        self.epoch: int | None = None
        self._settings = settings
        self._bucket = TokenBucket(rate=settings.frames_per_second, burst=settings.frames_burst)
        self._window = Window()
        self.between_epochs = False
        """Whether the announcement under a new name of the gateway's queue is not answered yet."""
        self._hello_by = elapsed + settings.hello_within

    # -- what a subclass adds -------------------------------------------------------------------

    @abstractmethod
    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Effect]:
        """A text frame arrived."""

    @abstractmethod
    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Effect]:
        """A worker answered a request."""

    @abstractmethod
    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Effect]:
        """No worker could answer a request in time."""

    @abstractmethod
    def _welcome(self, answer: ClientConnectedV1) -> list[Effect]:
        """The effects that admit a device: the frames that announce it."""

    @abstractmethod
    def _notification(self, item: DeliverItem) -> bytes:
        """Encode the frame for a step of a delivery."""

    @abstractmethod
    def _closing_effects(self, code: CloseCode, message: str) -> list[Effect]:
        """The effects that send a device the reason of the end, and close its connection."""

    # -- from the device ------------------------------------------------------------------------

    def received_binary(self, *, now: datetime) -> list[Effect]:
        """A binary frame arrived, which no protocol allows."""
        return self.close(CloseCode.UNSUPPORTED, "frames are JSON text, not binary", now=now)

    def received_control(self, *, elapsed: float, now: datetime) -> list[Effect]:
        """A ping or pong arrived: it counts as a frame. The connection answers it."""
        return [] if self.state is SessionState.CLOSED else self._charge(elapsed, now)[1]

    def _charge(self, elapsed: float, now: datetime) -> tuple[bool, list[Effect]]:
        """Count a frame; return whether it is above the limit, and the effects of a flood."""
        balance = self._bucket.overdraw(elapsed)
        if balance >= -self._settings.frames_burst:
            return balance < 0, []
        rate = self._settings.frames_per_second
        return True, self.close(
            CloseCode.TOO_MANY, f"send at most {rate:g} frames a second", now=now
        )

    def _close_undecodable(self, refusal: Refusal, now: datetime) -> list[Effect]:
        large = refusal.code is ErrorCode.TOO_LARGE
        code = CloseCode.TOO_BIG if large else CloseCode.BAD_FRAME
        return self.close(code, str(refusal), now=now)

    # -- from the workers -----------------------------------------------------------------------

    def admitted(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Effect]:
        """The workers confirmed the secret: the session is open under the answer's epoch.

        ``current`` is false when the answer is about an earlier name of the gateway's queue: the
        session is between epochs then, until :meth:`announced`.
        """
        if self.state is not SessionState.ADMITTING:
            return [EndPresence(answer.client, answer.epoch)]
        self.state = SessionState.OPEN
        self.between_epochs = not current
        return [*self._welcome(answer), *self._start_epoch(answer.epoch, elapsed, now)]

    def hello_refused(self, code: str | None, *, now: datetime) -> list[Effect]:
        """The hello was refused with ``code``, or not answered in time (None)."""
        if self.state is not SessionState.ADMITTING:
            return []
        return self.close(*hello_refused(code), now=now)

    def node_renamed(self) -> None:
        """The gateway's queue has a new name; deliveries sent to the old one are lost."""
        self.between_epochs = self.state is SessionState.OPEN

    def announced(
        self, epoch: int, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Effect]:
        """The announcement was accepted: the session continues under a new epoch."""
        if self.state is not SessionState.OPEN:
            return [] if self.client is None else [EndPresence(self.client, epoch)]
        self.between_epochs = not current
        return self._start_epoch(epoch, elapsed, now)

    def announcement_refused(self, code: str, *, now: datetime) -> list[Effect]:
        """The announcement was refused: the client has another session, or none."""
        return self.close(*announcement_refused(code), now=now)

    def deliver(self, item: DeliverItem, *, elapsed: float, now: datetime) -> list[Effect]:
        """A step of a delivery arrived for this session."""
        if not self._is_recipient(item):
            return [ReportOutcome(route_lost(item, now))]
        if now >= item.expires_at:
            return []
        if not self._window.push(item, room=self._settings.window + self._settings.backlog):
            why = "the device does not keep up"
            return [ReportOutcome(item.outcome(OutcomeKind.REFUSED, now, detail=why))]
        return self._send_waiting(elapsed, now)

    def _is_recipient(self, item: DeliverItem) -> bool:
        if item.client != self.client or item.epoch is None:
            return False
        match self.state:
            case SessionState.ADMITTING:
                return True
            case SessionState.OPEN:
                return self.epoch is not None and item.epoch >= self.epoch
            case SessionState.WAITING | SessionState.CLOSED:
                return False

    def _send_waiting(self, elapsed: float, now: datetime) -> list[Effect]:
        if self.state is not SessionState.OPEN or self.between_epochs:
            return []
        pulled = self._window.pull(elapsed, now, size=self._settings.window)
        return [Send(self._notification(item)) for item in pulled]

    def _start_epoch(self, epoch: int, elapsed: float, now: datetime) -> list[Effect]:
        self.epoch = epoch
        if self.between_epochs:
            return []
        stale = self._window.drop_other_epochs(epoch)
        return [
            *(ReportOutcome(route_lost(item, now)) for item in stale),
            *self._send_waiting(elapsed, now),
        ]

    # -- time and the end -----------------------------------------------------------------------

    def due(self) -> float | None:
        """When :meth:`tick` should be called, in seconds since the gateway started."""
        match self.state:
            case SessionState.WAITING:
                return self._hello_by
            case SessionState.OPEN:
                oldest = self._window.oldest()
                return None if oldest is None else oldest + self._settings.forget_after
            case SessionState.ADMITTING | SessionState.CLOSED:
                return None

    def tick(self, *, elapsed: float, now: datetime) -> list[Effect]:
        """Time has passed: apply the limits that are due."""
        if self.state is SessionState.WAITING and elapsed >= self._hello_by:
            within = self._settings.hello_within
            return self.close(CloseCode.NO_HELLO, f"say hello within {within:g} s", now=now)
        if self.state is SessionState.OPEN:
            self._window.expire(elapsed, after=self._settings.forget_after)
            return self._send_waiting(elapsed, now)
        return []

    def close(self, code: CloseCode, message: str, *, now: datetime) -> list[Effect]:
        """The gateway ends the session."""
        if self.state is SessionState.CLOSED:
            return []
        replaced = code in (CloseCode.REPLACED, CloseCode.RETIRED)
        return [*self._closing_effects(code, message), *self._end(now, end_presence=not replaced)]

    def lost(self, *, now: datetime) -> list[Effect]:
        """The connection was lost, or the device closed it."""
        return [] if self.state is SessionState.CLOSED else self._end(now, end_presence=True)

    def _end(self, now: datetime, *, end_presence: bool) -> list[Effect]:
        self.state = SessionState.CLOSED
        in_flight, waiting = self._window.clear()
        effects: list[Effect] = []
        if self.client is not None:
            for delivery, sent in in_flight.items():
                lost = OutcomeKind.ROUTE_LOST
                outcome = about(delivery, lost, sent, self.client, now, epoch=self.epoch)
                effects.append(ReportOutcome(outcome))
            effects += [ReportOutcome(route_lost(item, now)) for item in waiting]
            if end_presence and self.epoch is not None:
                effects.append(EndPresence(self.client, self.epoch))
        return effects
