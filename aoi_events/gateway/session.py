"""The state machine of one device's connection; no I/O, no clock.

Theory of operation. What happens goes in as a method call with the time; what shall be done comes
out as a list of actions, in order. Every state rule stands in this file::

    WAITING   hello -> ADMITTING; requests named client.register only; nothing in time -> CLOSED
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

from datetime import datetime
from enum import Enum
from typing import Final, assert_never

from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.device import (
    AckFrame,
    CloseCode,
    GoodbyeFrame,
    HelloFrame,
    RequestFrame,
    WelcomeFrame,
)
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.actions import Action, Admit, Ask, Close, Leave, Report, Send
from aoi_events.gateway.allowance import Allowance, Charge
from aoi_events.gateway.farewells import displaced, turned_away
from aoi_events.gateway.frames import (
    answer_frame,
    delivery_frame,
    read_frame,
    refusal_frame,
    request_body,
    shortened,
)
from aoi_events.gateway.outcomes import acknowledged, refused, route_lost, sent_in_vain
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.window import Window

__all__ = ["Session", "State"]

_REASON: Final = 123
"""Octets of a close frame's reason (RFC 6455, section 5.5)."""
_REGISTRATIONS: Final = 8
"""Requests for an AOI Client ID on one connection: one, and some to repeat it."""


class State(Enum):
    """Where a session stands."""

    WAITING = "waiting"
    ADMITTING = "admitting"
    OPEN = "open"
    CLOSED = "closed"


class Session:
    """One connection. ``id`` is fresh and never used again."""

    __slots__ = (
        "_allowance",
        "_asked",
        "_between",
        "_hello_by",
        "_registrations",
        "_settings",
        "_window",
        "client",
        "epoch",
        "id",
        "state",
    )

    def __init__(self, name: str, settings: GatewaySettings, *, elapsed: float) -> None:
        self.id = name
        self.state = State.WAITING
        self.client: str | None = None
        self.epoch: int | None = None
        self._settings = settings
        self._allowance = Allowance(settings.frames_burst)
        self._window = Window()
        self._asked = 0
        self._registrations = 0
        self._between = False
        self._hello_by = elapsed + settings.hello_within

    # -- from the device ------------------------------------------------------------------------

    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Action]:
        """A text frame arrived."""
        if self.state is State.CLOSED:
            return []
        try:
            frame = read_frame(data)
        except Refusal as refusal:
            large = refusal.code is ErrorCode.TOO_LARGE
            code = CloseCode.TOO_BIG if large else CloseCode.BAD_FRAME
            return self.close(code, str(refusal), now=now)
        match frame:
            case AckFrame():
                return self._acknowledge(frame, elapsed, now)
            case HelloFrame():
                return self._charge(elapsed, now)[1] or self._hello(frame, now)
            case RequestFrame():
                return self._request(frame, elapsed, now)
            case _:
                assert_never(frame)

    def received_binary(self, *, now: datetime) -> list[Action]:
        """A binary frame arrived: the protocol has none."""
        return self.close(CloseCode.BAD_FRAME, "frames are JSON text, not binary", now=now)

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

    def _hello(self, frame: HelloFrame, now: datetime) -> list[Action]:
        if self.state is not State.WAITING:
            return self.close(CloseCode.BAD_FRAME, "say hello once, as the first frame", now=now)
        self.state = State.ADMITTING
        self.client = frame.client
        return [Admit(frame.client, frame.secret)]

    def _request(self, frame: RequestFrame, elapsed: float, now: datetime) -> list[Action]:
        charge, stop = self._charge(elapsed, now)
        if stop:
            return stop
        if self.state is not State.OPEN and not (
            self.state is State.WAITING and frame.name == "client.register"
        ):
            return self.close(
                CloseCode.BAD_FRAME, "say hello, and wait for the welcome, before requests", now=now
            )
        if self._too_many(charge):
            message = "too many requests; wait for answers, then repeat it"
            return [Send(refusal_frame(frame.id, ErrorCode.QUOTA_EXCEEDED, message))]
        client = self.client if self.state is State.OPEN else None
        try:
            body = request_body(frame, client)
        except Refusal as refusal:
            return [Send(refusal_frame(frame.id, refusal.code, refusal.message, refusal.field))]
        self._asked += 1
        return [Ask(frame.id, frame.name, body, client)]

    def _too_many(self, charge: Charge) -> bool:
        if self.state is State.WAITING:
            self._registrations += 1
        return (
            charge is Charge.REFUSE
            or self._asked >= self._settings.requests_in_flight
            or self._registrations > _REGISTRATIONS
        )

    def _acknowledge(self, frame: AckFrame, elapsed: float, now: datetime) -> list[Action]:
        if self.state is not State.OPEN or self.client is None:
            return self.close(
                CloseCode.BAD_FRAME, "wait for the welcome before acknowledging", now=now
            )
        sent = self._window.acknowledged(frame.delivery)
        # What we sent is bounded by ourselves, so only what nobody asked for is counted.
        if sent is None and (stop := self._charge(elapsed, now)[1]):
            return stop
        return [
            Report(acknowledged(frame, sent, self.client, now)),
            *self._flow(elapsed, now),
        ]

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
        welcome = WelcomeFrame(
            client=answer.client,
            session=self.id,
            epoch=answer.epoch,
            sequence=answer.sequence,
            ping_every=self._settings.ping_every,
            closed=answer.closed,
            lost=answer.lost,
        )
        self._between = not current
        return [Send(welcome.encode()), *self._enter(answer.epoch, elapsed, now)]

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

    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float
    ) -> list[Action]:
        """A worker answered a request."""
        return self._answer(answer_frame(request, name, body), elapsed)

    def unanswered(self, request: int, *, elapsed: float) -> list[Action]:
        """No worker could answer a request in time."""
        message = "no answer in time; it may have taken effect, so repeat the same request"
        return self._answer(refusal_frame(request, ErrorCode.UNAVAILABLE, message), elapsed)

    def _answer(self, frame: bytes, elapsed: float) -> list[Action]:
        if self.state is State.CLOSED:
            return []
        self._asked -= 1
        if self.state is State.WAITING:
            self._hello_by = elapsed + self._settings.hello_within
        return [Send(frame)]

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
        return [Send(delivery_frame(item)) for item in pulled]

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
        if self.state is State.WAITING and elapsed >= self._hello_by and not self._asked:
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
        message = shortened(message)
        goodbye = GoodbyeFrame(code=code, message=message).encode()
        replaced = code in (CloseCode.REPLACED, CloseCode.RETIRED)
        return [
            Send(goodbye),
            Close(code, shortened(message, _REASON)),
            *self._end(now, leave=not replaced),
        ]

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
