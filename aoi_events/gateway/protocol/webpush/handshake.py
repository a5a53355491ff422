"""The handshake of a browser: its hello and registration; no I/O, no clock, no randomness.

The hello of a browser replaces several steps of a device. While the session is ADMITTING::

    known uaid         -> admission; refused: unregistered
    no uaid            -> unregistered: the hello is answered, and the workers do not know it
    it subscribes      -> REGISTERING an AOI Client -> ACTIVATING its channel -> admission

Firefox sends its uaid only while a page is subscribed. A browser without subscriptions is therefore
unregistered on each connection; if its hello registered a client, every connection would leave one
behind. The uaid of an unregistered browser is already that of the client that it will become: the
ID of a client is derived from its secret.
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
    ClientDeregisteredV1,
    ClientRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.identifiers import ClientId, ClientSecret
from aoi_events.contracts.requests import AnyRequest
from aoi_events.contracts.webpush import (
    WEBPUSH_SUBPROTOCOL,
    HelloMessage,
    HelloReply,
    WebPushCloseCode,
)
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.errors import ErrorCode
from aoi_events.gateway.protocol.close_reasons import reason
from aoi_events.gateway.protocol.effects import (
    Admit,
    Close,
    Effect,
    ForwardRequest,
    ReportOutcome,
    Send,
)
from aoi_events.gateway.protocol.outcomes import route_lost
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from aoi_events.gateway.protocol.webpush.client_end import ClientEnd
from aoi_events.gateway.protocol.webpush.commands import (
    CHANNEL,
    activation,
    read_command,
    registration,
)
from aoi_events.gateway.protocol.webpush.frame_queue import FrameQueue
from aoi_events.gateway.protocol.webpush.replies import Command, refusal_reply
from aoi_events.gateway.protocol.webpush.uaids import read_uaid, secret_text, write_uaid
from aoi_events.gateway.settings import GatewaySettings

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
"""Close codes that a browser gets in place of ours; the others are the same."""
_UNKNOWN: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.CLIENT_RETIRED)


class Stage(Enum):
    """The request that a handshake, the renewal of a closed channel, or the end of a client waits
    for.
    """

    RETIRING = "retiring"
    REGISTERING = "registering"
    ACTIVATING = "activating"


class Handshake(DeviceSession):
    """The part of a browser's session that finds or registers its AOI Client.

    ``randomness`` is 32 octets for the secret of a client that this session may register.
    """

    __slots__ = (
        "_client_end",
        "_commands",
        "_pending",
        "_queue",
        "_requests",
        "_secret",
        "_uaid",
        "_unregistered",
    )

    protocol = WEBPUSH_SUBPROTOCOL

    def __init__(
        self, name: str, settings: GatewaySettings, *, randomness: bytes, elapsed: float
    ) -> None:
        super().__init__(name, settings, elapsed=elapsed)
        self._secret: ClientSecret = secret_text(randomness)
        self._unregistered = False
        self._uaid = ""
        self._requests = self._commands = 0
        self._pending: dict[int, Stage | Command] = {}
        self._queue = FrameQueue(settings)
        self._client_end: ClientEnd | None = None

    @abstractmethod
    def _send_commands(self, elapsed: float, now: datetime) -> list[Effect]:
        """Forward queued commands of an open session to the workers, as far as limits allow."""

    @abstractmethod
    def _hello_answered(self, now: datetime) -> list[Effect]:
        """Process the frames that arrived since the hello."""

    # -- a browser with an AOI Client ------------------------------------------------------------

    def _hello(self, message: HelloMessage, now: datetime) -> list[Effect]:
        self.state = SessionState.ADMITTING
        known = read_uaid(message.uaid)
        if known is None:
            return self._start_unregistered(now)
        self._uaid = message.uaid or ""
        return [self._admit(*known)]

    def admitted(
        self, answer: ClientConnectedV1, *, elapsed: float, now: datetime, current: bool = True
    ) -> list[Effect]:
        """The workers confirmed the secret; the client of a browser that lost notifications will
        end (:mod:`~aoi_events.gateway.protocol.webpush.client_end`).
        """
        effects = super().admitted(answer, elapsed=elapsed, now=now, current=current)
        if self.state is not SessionState.OPEN:
            return effects
        if self._unregistered:
            return [*effects, *self._send_commands(elapsed, now)]
        if answer.lost:
            self._client_end = ClientEnd(elapsed, patience=self._settings.forget_after)
        return [*effects, *self._hello_answered(now)]

    def hello_refused(self, code: str | None, *, now: datetime) -> list[Effect]:
        """The hello was refused with ``code``: an unknown uaid counts as none."""
        if self.state is not SessionState.ADMITTING:
            return []
        if self._unregistered:
            return self._refuse_waiting(code or ErrorCode.UNAVAILABLE, now)
        if code in _UNKNOWN:
            return [*self._forget_client(now), *self._start_unregistered(now)]
        return self.close(CloseCode.TRY_LATER, "connect again later", now=now)

    # -- an unregistered browser ---------------------------------------------------------------

    def _start_unregistered(self, now: datetime) -> list[Effect]:
        """Answer the hello of an unregistered browser, with the uaid of its future client."""
        self._unregistered = True
        self._uaid = write_uaid(client_id_of(hash_secret(self._secret)), self._secret)
        return [self._reply_to_hello(), *self._hello_answered(now)]

    def _refuse_waiting(self, code: str, now: datetime) -> list[Effect]:
        """The registration failed: refuse its commands, and leave the browser unregistered."""
        commands = [read_command(frame.data) for frame in self._queue.clear()]
        return [*self._forget_client(now), *(Send(refusal_reply(each, code)) for each in commands)]

    # -- from the workers -----------------------------------------------------------------------

    def _stage_answered(
        self, stage: Stage, answer: AnyAnswer | None, elapsed: float, now: datetime
    ) -> list[Effect]:
        """The request of a stage was answered."""
        match stage:
            case Stage.RETIRING if self._client_end is not None:
                if isinstance(answer, ClientDeregisteredV1):
                    return self.close(CloseCode.RETIRED, "notifications were lost", now=now)
                self._client_end.wait(elapsed)
                return []
            case Stage.REGISTERING if isinstance(answer, ClientRegisteredV1):
                self.client = answer.client
                return [self._activate(answer.client, 1)]
            case Stage.ACTIVATING if isinstance(answer, ChannelsActivatedV1) and self.client:
                if any(channel.type == CHANNEL for channel in answer.selected):
                    is_open = self.state is SessionState.OPEN
                    return [] if is_open else [self._admit(self.client, self._secret)]
            case Stage():
                pass
            case _:
                assert_never(stage)
        if self.state is SessionState.OPEN:
            return self.close(CloseCode.TRY_LATER, "connect again later", now=now)
        code = answer.code if isinstance(answer, RefusedV1) else ErrorCode.INTERNAL
        return self._refuse_waiting(code, now)

    def _welcome(self, answer: ClientConnectedV1) -> list[Effect]:
        effects: list[Effect] = [] if self._unregistered else [self._reply_to_hello()]
        self._uaid = self._secret = ""
        if any(channel.type == CHANNEL for channel in answer.closed):
            # A device offers a closed channel again by itself; a browser cannot.
            effects.append(self._activate(answer.client, self._number(answer.epoch)))
        return effects

    # -- requests and replies -------------------------------------------------------------------

    def _admit(self, client: ClientId, secret: ClientSecret) -> Admit:
        self.client = client
        # A browser with lost notifications was registered anew, so none is acknowledged here.
        return Admit(client, secret, heard="")

    def _register(self) -> ForwardRequest:
        request = registration(self.id, self._secret)
        return self._request(Stage.REGISTERING, "client.register", request, None)

    def _activate(self, client: ClientId, sequence: int) -> ForwardRequest:
        request = activation(client, sequence)
        return self._request(Stage.ACTIVATING, "channel.activate", request, client)

    def _forget_client(self, now: datetime) -> list[Effect]:
        """Detach the session from its client; report its waiting deliveries as *route lost*."""
        self.client = None
        _, waiting = self._window.clear()
        return [ReportOutcome(route_lost(item, now)) for item in waiting]

    def _request(
        self, waits: Stage | Command, name: str, request: AnyRequest, client: ClientId | None
    ) -> ForwardRequest:
        self._requests += 1
        self._pending[self._requests] = waits
        return ForwardRequest(self._requests, name, request.encode(), client)

    def _number(self, epoch: int) -> int:
        """The next sequence number: the epoch, which only rises, and a counter within it.

        A browser does not number its commands itself.
        """
        self._commands += 1
        return (epoch << _COUNTED) | self._commands

    def _numbers_left(self) -> bool:
        return self._commands + 1 < 2**_COUNTED

    def _reply_to_hello(self) -> Send:
        return Send(HelloReply(uaid=self._uaid).encode())

    def _closing_effects(self, code: CloseCode, message: str) -> list[Effect]:
        return [Close(_CODES.get(code, code), reason(message))]
