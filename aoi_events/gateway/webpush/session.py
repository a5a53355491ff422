"""The session of a browser that speaks ``push-notification``; no I/O, no clock, no randomness.

A browser's hello stands for what a device does in several steps. While it is ADMITTING::

    a uaid of ours       -> admission; refused: as without; notifications were lost: RETIRING
    RETIRING             its AOI Client ends, so that its pages subscribe anew -> REGISTERING
    no uaid              -> REGISTERING an AOI Client -> ACTIVATING its channel -> admission

and its hello is answered once it is admitted. A browser cannot count its commands, so they are
numbered by the connection epoch, which only rises, and within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final, assert_never

from aoi_events.contracts.answers import (
    AnyAnswer,
    ChannelsActivatedV1,
    ClientConnectedV1,
    ClientRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import ClientId, ClientSecret
from aoi_events.contracts.requests import AnyRequest, DeregisterClientV1
from aoi_events.contracts.webpush import (
    WEBPUSH_SUBPROTOCOL,
    AckMessage,
    AckUpdate,
    BroadcastSubscribeMessage,
    HelloMessage,
    HelloReply,
    NackMessage,
    PingMessage,
    RegisterMessage,
    UnregisterMessage,
    WebPushCloseCode,
)
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.actions import Action, Admit, Ask, Close, Leave, Report, Send
from aoi_events.gateway.allowance import Charge
from aoi_events.gateway.farewells import reason
from aoi_events.gateway.outcomes import discarded, route_lost
from aoi_events.gateway.session import Session, State
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.webpush.acknowledging import outcome
from aoi_events.gateway.webpush.commands import CHANNEL, activation, command_request, registration
from aoi_events.gateway.webpush.messages import PONG, notification_message, read_message
from aoi_events.gateway.webpush.replies import Command, read_answer, refusal_reply, reply
from aoi_events.gateway.webpush.uaids import read_uaid, secret_text, write_uaid

__all__ = ["WebPushSession"]

_COUNTED: Final = 20
"""Bits of a command's number that count within an epoch."""
_CODES: Final[Mapping[CloseCode, WebPushCloseCode]] = {
    CloseCode.BAD_FRAME: WebPushCloseCode.POLICY,
    CloseCode.UNAUTHENTICATED: WebPushCloseCode.NORMAL,
    CloseCode.NO_HELLO: WebPushCloseCode.POLICY,
    CloseCode.REPLACED: WebPushCloseCode.STAY_AWAY,
    CloseCode.RETIRED: WebPushCloseCode.NORMAL,
    CloseCode.TOO_SLOW: WebPushCloseCode.POLICY,
    CloseCode.TOO_MANY: WebPushCloseCode.STAY_AWAY,
}
"""Those of our own as a browser is told them; the others are the same."""
_UNKNOWN: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.CLIENT_RETIRED)


class _Stage(Enum):
    """What a hello, or a channel that was closed, waits for."""

    RETIRING = "retiring"
    REGISTERING = "registering"
    ACTIVATING = "activating"


class WebPushSession(Session):
    """One connection that speaks ``push-notification``.

    ``randomness`` is 32 octets, for the secret of a client that this connection may have to make;
    ``senders_url`` the origin of every endpoint that it gives out.
    """

    __slots__ = (
        "_commands",
        "_fresh",
        "_pending",
        "_requests",
        "_secret",
        "_senders_url",
        "_uaid",
    )

    protocol = WEBPUSH_SUBPROTOCOL

    def __init__(
        self,
        name: str,
        settings: GatewaySettings,
        *,
        senders_url: str,
        randomness: bytes,
        elapsed: float,
    ) -> None:
        super().__init__(name, settings, elapsed=elapsed)
        self._secret: ClientSecret = secret_text(randomness)
        self._senders_url = senders_url
        self._fresh = False
        self._uaid = ""
        self._requests = self._commands = 0
        self._pending: dict[int, _Stage | Command] = {}

    # -- from the browser -----------------------------------------------------------------------

    def received(self, data: str | bytes, *, elapsed: float, now: datetime) -> list[Action]:
        """A text frame arrived."""
        if self.state is State.CLOSED:
            return []
        try:
            message = read_message(data)
        except Refusal as refusal:
            large = refusal.code is ErrorCode.TOO_LARGE
            code = CloseCode.TOO_BIG if large else CloseCode.BAD_FRAME
            return self.close(code, str(refusal), now=now)
        if isinstance(message, AckMessage):
            return self._acknowledge(message, elapsed, now)
        charge, stop = self._charge(elapsed, now)
        if stop:
            return stop
        if isinstance(message, HelloMessage):
            return self._hello(message, now)
        if self.state is not State.OPEN:
            return self._out_of_turn(now)
        match message:
            case RegisterMessage() | UnregisterMessage():
                return self._command(message, charge, now)
            case PingMessage():
                return [Send(PONG)]
            case NackMessage() | BroadcastSubscribeMessage():
                # A nack comes after the acknowledgement, of a service worker's own fault; and there
                # are no broadcasts, as a hello is told.
                return []
            case _:
                assert_never(message)

    def _out_of_turn(self, now: datetime) -> list[Action]:
        return self.close(
            CloseCode.BAD_FRAME, "say hello once, first, and wait for the answer", now=now
        )

    def _hello(self, message: HelloMessage, now: datetime) -> list[Action]:
        if self.state is not State.WAITING:
            return self._out_of_turn(now)
        self.state = State.ADMITTING
        known = read_uaid(message.uaid)
        if known is None:
            return [self._register()]
        return self._admit(*known)

    def _command(self, command: Command, charge: Charge, now: datetime) -> list[Action]:
        if charge is Charge.REFUSE or len(self._pending) >= self._settings.requests_in_flight:
            return [Send(refusal_reply(command, ErrorCode.QUOTA_EXCEEDED))]
        if self._commands + 1 >= 2**_COUNTED or self.client is None or self.epoch is None:
            return self.close(CloseCode.SERVICE_RESTART, "connect again to go on", now=now)
        try:
            name, request = command_request(command, self.client, self._number(self.epoch))
        except Refusal as refusal:
            return [Send(refusal_reply(command, refusal.code))]
        return [self._ask(command, name, request, self.client)]

    def _number(self, epoch: int) -> int:
        self._commands += 1
        return (epoch << _COUNTED) | self._commands

    def _acknowledge(self, message: AckMessage, elapsed: float, now: datetime) -> list[Action]:
        if self.state is not State.OPEN or self.client is None:
            return self._out_of_turn(now)
        actions: list[Action] = []
        # What we sent is bounded by ourselves, so only what nobody asked for is counted.
        if not message.updates:
            return self._charge(elapsed, now)[1]
        for update in message.updates:
            sent = self._window.under_way(update.version)
            if sent is None and (stop := self._charge(elapsed, now)[1]):
                return [*actions, *stop]
            actions += self._acknowledged(update, now)
        return [*actions, *self._flow(elapsed, now)]

    def _acknowledged(self, update: AckUpdate, now: datetime) -> list[Action]:
        sent = self._window.under_way(update.version)
        said = outcome(update, sent, self.client, now) if self.client is not None else None
        if said is None:
            return []
        self._window.acknowledged(update.version)
        return [Report(said)]

    # -- from the workers -----------------------------------------------------------------------

    def admitted(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Action]:
        """The secret is right; but a browser that lost notifications must begin anew.

        There is no other way to tell its pages that they should ask what they missed.
        """
        if answer.lost and self.state is State.ADMITTING and not self._fresh:
            return self._retire(answer, now)
        return super().admitted(answer, elapsed=elapsed, now=now, current=current)

    def turned_away(self, code: str | None, *, now: datetime) -> list[Action]:
        """The hello was refused (``code``): a uaid that is none of ours is the same as none."""
        if self.state is not State.ADMITTING:
            return []
        if code in _UNKNOWN and not self._fresh:
            return [*self._let_go(now), self._register()]
        return self.close(CloseCode.TRY_LATER, "connect again later", now=now)

    def answered(
        self, request: int, name: str | None, body: bytes, *, elapsed: float, now: datetime
    ) -> list[Action]:
        """A worker answered a request."""
        return self._answer(request, read_answer(name, body), now)

    def unanswered(self, request: int, *, elapsed: float, now: datetime) -> list[Action]:
        """No worker could answer a request in time."""
        refused = RefusedV1(code=ErrorCode.UNAVAILABLE, message="no answer in time")
        return self._answer(request, refused, now)

    def _answer(self, request: int, answer: AnyAnswer | None, now: datetime) -> list[Action]:
        waited = self._pending.pop(request, None)
        if waited is None or self.state is State.CLOSED:
            return []
        match waited:
            case RegisterMessage() | UnregisterMessage():
                endpoints = f"{self._senders_url}/wpush/v1/"
                return [Send(reply(waited, answer, endpoints=endpoints))]
            case _Stage.RETIRING:
                return [self._register()]
            case _Stage.REGISTERING if isinstance(answer, ClientRegisteredV1):
                self.client = answer.client
                return [self._activate(answer.client, 1)]
            case _Stage.ACTIVATING if isinstance(answer, ChannelsActivatedV1) and self.client:
                if any(channel.type == CHANNEL for channel in answer.selected):
                    is_open = self.state is State.OPEN
                    return [] if is_open else self._admit(self.client, self._secret)
            case _Stage():
                pass
            case _:
                assert_never(waited)
        return self.close(CloseCode.TRY_LATER, "connect again later", now=now)

    def deliver(self, item: DeliverItem, *, elapsed: float, now: datetime) -> list[Action]:
        """A step of a delivery arrived; a browser would swallow content that is not encrypted."""
        if item.content.data and item.content.encryption is None and self._expects(item):
            return [Report(discarded(item, "a browser takes encrypted content only", now))]
        return super().deliver(item, elapsed=elapsed, now=now)

    # -- whose session it is --------------------------------------------------------------------

    def _admit(self, client: ClientId, secret: ClientSecret) -> list[Action]:
        self.client = client
        self._uaid = write_uaid(client, secret)
        return [Admit(client, secret)]

    def _register(self) -> Action:
        self._fresh = True
        request = registration(self.id, self._secret)
        return self._ask(_Stage.REGISTERING, "client.register", request, None)

    def _activate(self, client: ClientId, sequence: int) -> Ask:
        request = activation(client, sequence)
        return self._ask(_Stage.ACTIVATING, "channel.activate", request, client)

    def _retire(self, answer: ClientConnectedV1, now: datetime) -> list[Action]:
        request = DeregisterClientV1(version=1, client=answer.client)
        return [
            *self._let_go(now),
            Leave(answer.client, answer.epoch),
            self._ask(_Stage.RETIRING, "client.deregister", request, answer.client),
        ]

    def _let_go(self, now: datetime) -> list[Action]:
        """The session is not that client's after all; what came for it meanwhile goes back."""
        self.client = None
        _, waiting = self._window.clear()
        return [Report(route_lost(item, now)) for item in waiting]

    def _ask(
        self, waits: _Stage | Command, name: str, request: AnyRequest, client: ClientId | None
    ) -> Ask:
        self._requests += 1
        self._pending[self._requests] = waits
        return Ask(self._requests, name, request.encode(), client)

    # -- messages -------------------------------------------------------------------------------

    def _welcome(self, answer: ClientConnectedV1) -> list[Action]:
        hello = Send(HelloReply(uaid=self._uaid).encode())
        self._uaid = self._secret = ""
        if not any(channel.type == CHANNEL for channel in answer.closed):
            return [hello]
        # A device would offer it again by itself.
        return [hello, self._activate(answer.client, self._number(answer.epoch))]

    def _notification(self, item: DeliverItem) -> bytes:
        return notification_message(item)

    def _farewell(self, code: CloseCode, message: str) -> list[Action]:
        return [Close(_CODES.get(code, code), reason(message))]
