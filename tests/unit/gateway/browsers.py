"""Values that the tests of the protocol ``push-notification`` are made of."""

from __future__ import annotations

from typing import Any

from aoi_events.contracts.answers import (
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.base import Answer
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.gateway.protocol.effects import Effect, ForwardRequest
from aoi_events.gateway.protocol.webpush import WebPushSession
from aoi_events.gateway.settings import GatewaySettings
from tests.support import browser_frames
from tests.support.browser_frames import (
    CHANNEL_ID,
    ENCRYPTED,
    KEY,
    OTHER_CHANNEL_ID,
    OWN_SECRET,
    RANDOM,
    TOKEN,
    UAID,
    ack,
    hello,
    register,
    say,
    unregister,
)
from tests.unit.gateway.samples import CLIENT, NOW, SESSION, connected

__all__ = [
    "ACTIVATED",
    "CHANNEL_ID",
    "ENCRYPTED",
    "KEY",
    "OTHER_CHANNEL_ID",
    "OWN_SECRET",
    "RANDOM",
    "REGISTERED",
    "SUBSCRIBED",
    "TOKEN",
    "UAID",
    "ack",
    "admit",
    "answer",
    "asked",
    "hello",
    "new_session",
    "open_session",
    "push",
    "receive",
    "refused",
    "register",
    "say",
    "subscribing",
    "unregister",
    "unregistered",
]


def push(number: int = 1, data: bytes = b"\xfb\xff sealed", **changes: Any) -> DeliverItem:
    """A step of an encrypted delivery for :data:`CHANNEL_ID`, accepted at :data:`NOW`."""
    return browser_frames.push(number, data, now=NOW, **changes)


def new_session(**settings: Any) -> WebPushSession:
    """A session that waits for its hello since 0 s."""
    return WebPushSession(
        SESSION,
        GatewaySettings(**settings),
        senders_url="https://push.example",
        randomness=RANDOM,
        elapsed=0.0,
    )


def receive(session: WebPushSession, data: str | bytes, elapsed: float = 1.0) -> list[Effect]:
    """The effects of a frame."""
    return session.received(data, elapsed=elapsed, now=NOW)


def admit(session: WebPushSession, **changes: Any) -> list[Effect]:
    """The workers admit it."""
    return session.admitted(connected(**changes), elapsed=1.0, now=NOW)


def open_session(**settings: Any) -> WebPushSession:
    """A session of a known browser that is open under epoch 1."""
    session = new_session(**settings)
    session.received(hello(), elapsed=0.0, now=NOW)
    session.admitted(connected(client=CLIENT), elapsed=0.0, now=NOW)
    return session


def asked(effects: list[Effect]) -> ForwardRequest:
    """The only effect, which is a request."""
    (ask,) = effects
    assert isinstance(ask, ForwardRequest), ask
    return ask


def answer(session: WebPushSession, ask: ForwardRequest, name: str, body: Answer) -> list[Effect]:
    """A worker answers."""
    return session.answered(ask.id, name, body.encode(), elapsed=1.0, now=NOW)


def refused(session: WebPushSession, ask: ForwardRequest, code: str) -> list[Effect]:
    """A worker refuses."""
    return answer(session, ask, "refused.v1", RefusedV1(code=code, message="no"))


def unregistered(**settings: Any) -> WebPushSession:
    """A session of an unregistered browser whose hello was answered."""
    session = new_session(**settings)
    receive(session, hello(None))
    return session


def subscribing(session: WebPushSession) -> ForwardRequest:
    """The last request of an unregistered browser that subscribes: its channel's activation."""
    registering = asked(receive(session, register()))
    return asked(answer(session, registering, *REGISTERED))


REGISTERED = "client.registered.v1", ClientRegisteredV1(client=CLIENT)
ACTIVATED = (
    "channels.activated.v1",
    ChannelsActivatedV1(sequence=1, selected=(SelectedChannel(type="websocket", state="active"),)),
)
SUBSCRIBED = "application.registered.v1", ApplicationRegisteredV1(token=TOKEN, sequence=1)
