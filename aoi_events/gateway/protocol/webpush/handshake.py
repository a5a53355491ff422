"""How a browser becomes a client, or is one again; no I/O, no clock, no randomness.

A browser's hello stands for what a device does in several steps, while it is ADMITTING::

    a uaid of ours    -> admission; refused: a guest; notifications were lost: RETIRING
    RETIRING          its AOI Client ends, so that its pages subscribe anew -> a guest
    no uaid           -> a guest: its hello is answered, and nobody else knows of it
    a guest subscribes -> REGISTERING an AOI Client -> ACTIVATING its channel -> admission

Firefox shows its uaid only while a page is subscribed, so one without pages is a guest each time
that it connects, and would leave a client behind each time if its hello made one. The uaid of a
guest is that of the client that it would be: the ID of a client follows from its secret.
"""

from __future__ import annotations

from abc import abstractmethod
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
from aoi_events.contracts.identifiers import ClientId, ClientSecret
from aoi_events.contracts.requests import AnyRequest, DeregisterClientV1
from aoi_events.contracts.webpush import (
    WEBPUSH_SUBPROTOCOL,
    HelloMessage,
    HelloReply,
    UnregisterMessage,
    UnregisterReply,
    WebPushCloseCode,
)
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.errors import ErrorCode
from aoi_events.gateway.protocol.actions import Action, Admit, Ask, Close, Leave, Report, Send
from aoi_events.gateway.protocol.close_reasons import reason
from aoi_events.gateway.protocol.outcomes import route_lost
from aoi_events.gateway.protocol.session import Session, State
from aoi_events.gateway.protocol.webpush.commands import CHANNEL, activation, registration
from aoi_events.gateway.protocol.webpush.replies import Command, refusal_reply
from aoi_events.gateway.protocol.webpush.uaids import read_uaid, secret_text, write_uaid
from aoi_events.gateway.settings import GatewaySettings

__all__ = ["Entrance", "Stage"]

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


class Stage(Enum):
    """What a hello, a guest that subscribes, or a channel that was closed, waits for."""

    RETIRING = "retiring"
    REGISTERING = "registering"
    ACTIVATING = "activating"


class Entrance(Session):
    """Whose connection it is.

    ``randomness`` is 32 octets, for the secret of a client that this connection may have to make.
    """

    __slots__ = ("_commands", "_guest", "_pending", "_requests", "_secret", "_uaid", "_waiting")

    protocol = WEBPUSH_SUBPROTOCOL

    def __init__(
        self, name: str, settings: GatewaySettings, *, randomness: bytes, elapsed: float
    ) -> None:
        super().__init__(name, settings, elapsed=elapsed)
        self._secret: ClientSecret = secret_text(randomness)
        self._guest = False
        self._uaid = ""
        self._requests = self._commands = 0
        self._pending: dict[int, Stage | Command] = {}
        self._waiting: list[Command] = []

    @abstractmethod
    def _perform(self, command: Command, now: datetime) -> list[Action]:
        """Put a command to the workers; the session is open."""

    # -- a browser that is a client already -----------------------------------------------------

    def _hello(self, message: HelloMessage) -> list[Action]:
        self.state = State.ADMITTING
        known = read_uaid(message.uaid)
        if known is None:
            return [self._greet()]
        self._uaid = message.uaid or ""
        return [self._admit(*known)]

    def admitted(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Action]:
        """The secret is right; but a browser that lost notifications must begin anew.

        There is no other way to tell its pages that they should ask what they missed.
        """
        if answer.lost and self.state is State.ADMITTING and not self._guest:
            return self._retire(answer, now)
        actions = super().admitted(answer, elapsed=elapsed, now=now, current=current)
        waiting, self._waiting = self._waiting, []
        if self.state is State.OPEN:
            for command in waiting:
                actions += self._perform(command, now)
        return actions

    def turned_away(self, code: str | None, *, now: datetime) -> list[Action]:
        """The hello was refused (``code``): a uaid that is none of ours is the same as none."""
        if self.state is not State.ADMITTING:
            return []
        if self._guest:
            return self._stay_out(code or ErrorCode.UNAVAILABLE, now)
        if code in _UNKNOWN:
            return [*self._let_go(now), self._greet()]
        return self.close(CloseCode.TRY_LATER, "connect again later", now=now)

    def _retire(self, answer: ClientConnectedV1, now: datetime) -> list[Action]:
        request = DeregisterClientV1(version=1, client=answer.client)
        return [
            *self._let_go(now),
            Leave(answer.client, answer.epoch),
            self._ask(Stage.RETIRING, "client.deregister", request, answer.client),
        ]

    # -- a guest --------------------------------------------------------------------------------

    def _greet(self) -> Send:
        """Answer the hello of a browser that has no client, with the uaid of one to come."""
        self._guest = True
        self._uaid = write_uaid(client_id_of(hash_secret(self._secret)), self._secret)
        return self._reply_to_hello()

    def _of_guest(self, command: Command) -> list[Action]:
        """A guest that subscribes becomes a client first; one that has no subscription has none to
        end.
        """
        if isinstance(command, UnregisterMessage) and not self._waiting:
            return [Send(UnregisterReply(channel=command.channel, status=200).encode())]
        self._waiting.append(command)
        return [] if len(self._waiting) > 1 else [self._register()]

    def _stay_out(self, code: str, now: datetime) -> list[Action]:
        """It did not become a client: its pages are told, and it stays a guest."""
        waiting, self._waiting = self._waiting, []
        return [*self._let_go(now), *(Send(refusal_reply(each, code)) for each in waiting)]

    # -- from the workers -----------------------------------------------------------------------

    def _entered(self, stage: Stage, answer: AnyAnswer | None, now: datetime) -> list[Action]:
        """What was asked for a stage was answered."""
        match stage:
            case Stage.RETIRING:
                return [self._greet()]
            case Stage.REGISTERING if isinstance(answer, ClientRegisteredV1):
                self.client = answer.client
                return [self._activate(answer.client, 1)]
            case Stage.ACTIVATING if isinstance(answer, ChannelsActivatedV1) and self.client:
                if any(channel.type == CHANNEL for channel in answer.selected):
                    is_open = self.state is State.OPEN
                    return [] if is_open else [self._admit(self.client, self._secret)]
            case Stage():
                pass
            case _:
                assert_never(stage)
        if self.state is State.OPEN:
            return self.close(CloseCode.TRY_LATER, "connect again later", now=now)
        code = answer.code if isinstance(answer, RefusedV1) else ErrorCode.INTERNAL
        return self._stay_out(code, now)

    def _welcome(self, answer: ClientConnectedV1) -> list[Action]:
        actions: list[Action] = [] if self._guest else [self._reply_to_hello()]
        self._uaid = self._secret = ""
        if any(channel.type == CHANNEL for channel in answer.closed):
            # A device would offer it again by itself.
            actions.append(self._activate(answer.client, self._number(answer.epoch)))
        return actions

    # -- whose session it is --------------------------------------------------------------------

    def _admit(self, client: ClientId, secret: ClientSecret) -> Admit:
        self.client = client
        # Whoever heard that something was lost is another client since.
        return Admit(client, secret, heard="")

    def _register(self) -> Ask:
        request = registration(self.id, self._secret)
        return self._ask(Stage.REGISTERING, "client.register", request, None)

    def _activate(self, client: ClientId, sequence: int) -> Ask:
        request = activation(client, sequence)
        return self._ask(Stage.ACTIVATING, "channel.activate", request, client)

    def _let_go(self, now: datetime) -> list[Action]:
        """The session is not that client's after all; what came for it meanwhile goes back."""
        self.client = None
        _, waiting = self._window.clear()
        return [Report(route_lost(item, now)) for item in waiting]

    def _ask(
        self, waits: Stage | Command, name: str, request: AnyRequest, client: ClientId | None
    ) -> Ask:
        self._requests += 1
        self._pending[self._requests] = waits
        return Ask(self._requests, name, request.encode(), client)

    def _number(self, epoch: int) -> int:
        """A browser cannot count its commands, so they are numbered by the connection epoch, which
        only rises, and within it.
        """
        self._commands += 1
        return (epoch << _COUNTED) | self._commands

    def _numbers_left(self) -> bool:
        return self._commands + 1 < 2**_COUNTED

    def _reply_to_hello(self) -> Send:
        return Send(HelloReply(uaid=self._uaid).encode())

    def _farewell(self, code: CloseCode, message: str) -> list[Action]:
        return [Close(_CODES.get(code, code), reason(message))]
