"""What the sessions of all device protocols have in common; no I/O, no clock.

Theory of operation. What happens goes in as a method call with the time; what shall be done comes
out as a list of actions, in order. A protocol adds its frames, and what may be said when; whom a
session belongs to, what is under way to it and how it ends stands here::

    WAITING   for a hello; nothing in time -> CLOSED
    ADMITTING admitted -> OPEN; turned away -> CLOSED; deliveries wait; the device must wait too
    OPEN      requests, acknowledgements and deliveries
    CLOSED    for good; whatever comes is ignored, except an epoch that was assigned too late

A session whose node has a new name is *between* epochs until the announcement was answered;
deliveries for the epoch to come wait meanwhile. Ending a session reports what was under way as
*route lost*, so that the next step of each delivery starts at once.

Two kinds of time: ``elapsed`` is seconds of the gateway's life and never jumps, for limits and
time-outs; ``now`` is the clock's, for expiry and for what is reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from enum import Enum
from typing import ClassVar

from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import ClientId
from aoi_events.gateway.protocol.actions import Action, Leave, Report, Send
from aoi_events.gateway.protocol.close_reasons import displaced, turned_away
from aoi_events.gateway.protocol.outcomes import refused, route_lost, sent_in_vain
from aoi_events.gateway.protocol.token_bucket import Allowance, Charge
from aoi_events.gateway.protocol.window import Window
from aoi_events.gateway.settings import GatewaySettings

__all__ = ["Session", "State"]


class State(Enum):
    """Where a session stands."""

    WAITING = "waiting"
    ADMITTING = "admitting"
    OPEN = "open"
    CLOSED = "closed"


class Session(ABC):
    """One connection. ``id`` is fresh and never used again."""

    __slots__ = (
        "_allowance",
        "_between",
        "_hello_by",
        "_settings",
        "_window",
        "client",
        "epoch",
        "id",
        "state",
    )

    protocol: ClassVar[str]
    """The WebSocket subprotocol."""

    def __init__(self, name: str, settings: GatewaySettings, *, elapsed: float) -> None:
        self.id = name
        self.state = State.WAITING
        self.client: ClientId | None = None
        self.epoch: int | None = None
        self._settings = settings
        self._allowance = Allowance(settings.frames_burst)
        self._window = Window()
        self._between = False
        self._hello_by = elapsed + settings.hello_within

    # -- what a protocol adds -------------------------------------------------------------------

    @abstractmethod
    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Action]:
        """A text frame arrived."""

    @abstractmethod
    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Action]:
        """A worker answered a request."""

    @abstractmethod
    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Action]:
        """No worker could answer a request in time."""

    @abstractmethod
    def _welcome(self, answer: ClientConnectedV1) -> list[Action]:
        """The first thing that an admitted device is told."""

    @abstractmethod
    def _notification(self, item: DeliverItem) -> bytes:
        """The frame for a step of a delivery."""

    @abstractmethod
    def _farewell(self, code: CloseCode, message: str) -> list[Action]:
        """The last things that a device is told."""

    # -- from the device ------------------------------------------------------------------------

    def received_binary(self, *, now: datetime) -> list[Action]:
        """A binary frame arrived: no protocol has any."""
        return self.close(CloseCode.UNSUPPORTED, "frames are JSON text, not binary", now=now)

    def received_control(self, *, elapsed: float, now: datetime) -> list[Action]:
        """A ping or pong arrived: answering is the connection's business, counting is ours."""
        return [] if self.state is State.CLOSED else self._charge(elapsed, now)[1]

    def _charge(self, elapsed: float, now: datetime) -> tuple[Charge, list[Action]]:
        charge = self._allowance.charge(
            elapsed, rate=self._settings.frames_per_second, burst=self._settings.frames_burst
        )
        if charge is not Charge.STOP:
            return charge, []
        rate = self._settings.frames_per_second
        return charge, self.close(
            CloseCode.TOO_MANY, f"send at most {rate:g} frames a second", now=now
        )

    # -- from the workers -----------------------------------------------------------------------

    def admitted(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Action]:
        """The secret is right: the session is open under the answer's epoch.

        ``current`` is false when the answer is about a node name that is gone by now: the session
        is between epochs then, until :meth:`announced`.
        """
        if self.state is not State.ADMITTING:
            return [Leave(answer.client, answer.epoch)]
        self.state = State.OPEN
        self._between = not current
        return [*self._welcome(answer), *self._enter(answer.epoch, elapsed, now)]

    def turned_away(self, code: str | None, *, now: datetime) -> list[Action]:
        """The hello was refused (``code``), or nobody could say in time (None)."""
        if self.state is not State.ADMITTING:
            return []
        return self.close(*turned_away(code), now=now)

    def renamed(self) -> None:
        """The node has a new name: what is sent to the old one is lost."""
        self._between = self.state is State.OPEN

    def announced(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Action]:
        """The session goes on under a new epoch."""
        if self.state is not State.OPEN:
            return [Leave(answer.client, answer.epoch)]
        self._between = not current
        return self._enter(answer.epoch, elapsed, now)

    def displaced(self, code: str, *, now: datetime) -> list[Action]:
        """The announcement was refused: this session is not the client's any more."""
        return self.close(*displaced(code), now=now)

    def deliver(self, item: DeliverItem, *, elapsed: float, now: datetime) -> list[Action]:
        """A step of a delivery arrived for this session."""
        if not self._expects(item):
            return [Report(route_lost(item, now))]
        if now >= item.expires_at:
            return []
        if not self._window.push(item, room=self._settings.window + self._settings.backlog):
            return [Report(refused(item, "the device does not keep up", now))]
        return self._flow(elapsed, now)

    def _expects(self, item: DeliverItem) -> bool:
        if item.client != self.client or item.epoch is None:
            return False
        match self.state:
            case State.ADMITTING:
                return True
            case State.OPEN:
                ahead = self._between and self.epoch is not None and item.epoch > self.epoch
                return ahead or item.epoch == self.epoch
            case State.WAITING | State.CLOSED:
                return False

    def _flow(self, elapsed: float, now: datetime) -> list[Action]:
        if self.state is not State.OPEN or self._between:
            return []
        pulled = self._window.pull(elapsed, now, size=self._settings.window)
        return [Send(self._notification(item)) for item in pulled]

    def _enter(self, epoch: int, elapsed: float, now: datetime) -> list[Action]:
        self.epoch = epoch
        if self._between:
            return []
        strangers = self._window.keep(epoch)
        return [*(Report(route_lost(item, now)) for item in strangers), *self._flow(elapsed, now)]

    # -- time and the end -----------------------------------------------------------------------

    def due(self) -> float | None:
        """When :meth:`tick` has something to do, in seconds of the gateway's life."""
        match self.state:
            case State.WAITING:
                return self._hello_by
            case State.OPEN:
                oldest = self._window.oldest()
                return None if oldest is None else oldest + self._settings.forget_after
            case State.ADMITTING | State.CLOSED:
                return None

    def tick(self, *, elapsed: float, now: datetime) -> list[Action]:
        """Time has passed."""
        if self.state is State.WAITING and elapsed >= self._hello_by:
            within = self._settings.hello_within
            return self.close(CloseCode.NO_HELLO, f"say hello within {within:g} s", now=now)
        if self.state is State.OPEN:
            self._window.forget(elapsed, after=self._settings.forget_after)
            return self._flow(elapsed, now)
        return []

    def close(self, code: CloseCode, message: str, *, now: datetime) -> list[Action]:
        """End the session from our side."""
        if self.state is State.CLOSED:
            return []
        replaced = code in (CloseCode.REPLACED, CloseCode.RETIRED)
        return [*self._farewell(code, message), *self._end(now, leave=not replaced)]

    def lost(self, *, now: datetime) -> list[Action]:
        """The connection is gone, or the device closed it."""
        return [] if self.state is State.CLOSED else self._end(now, leave=True)

    def _end(self, now: datetime, *, leave: bool) -> list[Action]:
        self.state = State.CLOSED
        under_way, waiting = self._window.clear()
        actions: list[Action] = []
        if self.client is not None:
            actions += [
                Report(sent_in_vain(delivery, sent, self.client, self.epoch, now))
                for delivery, sent in under_way.items()
            ]
            actions += [Report(route_lost(item, now)) for item in waiting]
            if leave and self.epoch is not None:
                actions.append(Leave(self.client, self.epoch))
        return actions
