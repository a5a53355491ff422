"""Values that the tests of the protocol ``push-notification`` are made of."""

from __future__ import annotations

import json
from typing import Any

from aoi_events.contracts.answers import (
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientRegisteredV1,
    RefusedV1,
    SelectedChannel,
)
from aoi_events.contracts.base import Answer
from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.gateway.actions import Action, Ask
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.webpush import WebPushSession
from aoi_events.gateway.webpush.uaids import secret_text, write_uaid
from tests.unit.gateway.samples import CLIENT, NOW, SECRET, SESSION, connected, deliver, delivery_id

CHANNEL_ID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_CHANNEL_ID = "fedcba98-7654-3210-fedc-ba9876543210"
KEY = "B" + "A" * 85 + "A"
RANDOM = bytes(range(32))
OWN_SECRET = secret_text(RANDOM)
UAID = write_uaid(CLIENT, SECRET)
TOKEN = "k1." + "T" * 40
ENCRYPTED = ContentEncryption(coding="aes128gcm")


def say(kind: str, **more: Any) -> str:
    """A message of a browser."""
    return json.dumps({"messageType": kind, **more})


def hello(uaid: str | None = UAID) -> str:
    """A hello as Firefox says it."""
    known = {} if uaid is None else {"uaid": uaid}
    return say("hello", broadcasts={"x/y": '"1"'}, use_webpush=True, **known)


def register(channel: str = CHANNEL_ID, **more: Any) -> str:
    """A page subscribes."""
    return say("register", channelID=channel, **more)


def unregister(channel: str = CHANNEL_ID) -> str:
    """A page unsubscribes."""
    return say("unregister", channelID=channel, code=200)


def ack(number: int = 1, code: int | None = 100, channel: str = CHANNEL_ID) -> str:
    """An acknowledgement of the delivery with that number."""
    update = {"channelID": channel, "version": delivery_id(number), "code": code}
    return say("ack", updates=[{name: each for name, each in update.items() if each is not None}])


def push(number: int = 1, data: bytes = b"\xfb\xff sealed", **changes: Any) -> DeliverItem:
    """A step of an encrypted delivery for the subscription :data:`CHANNEL_ID`."""
    content = Content.of(data).model_copy(update={"encryption": ENCRYPTED})
    values = {"content": content, "application": "webpush", "instance": CHANNEL_ID}
    return deliver(number, **{**values, **changes})


def new_session(**settings: Any) -> WebPushSession:
    """A session that waits for its hello since 0 s."""
    return WebPushSession(
        SESSION,
        GatewaySettings(**settings),
        senders_url="https://push.example",
        randomness=RANDOM,
        elapsed=0.0,
    )


def receive(session: WebPushSession, data: str | bytes, elapsed: float = 1.0) -> list[Action]:
    """What the session does about a frame."""
    return session.received(data, elapsed=elapsed, now=NOW)


def admit(session: WebPushSession, **changes: Any) -> list[Action]:
    """The workers admit it."""
    return session.admitted(connected(**changes), elapsed=1.0, now=NOW)


def open_session(**settings: Any) -> WebPushSession:
    """A session of a known browser that is open under epoch 1."""
    session = new_session(**settings)
    session.received(hello(), elapsed=0.0, now=NOW)
    session.admitted(connected(client=CLIENT), elapsed=0.0, now=NOW)
    return session


def asked(actions: list[Action]) -> Ask:
    """The only action, which is a request."""
    (ask,) = actions
    assert isinstance(ask, Ask), ask
    return ask


def answer(session: WebPushSession, ask: Ask, name: str, body: Answer) -> list[Action]:
    """A worker answers."""
    return session.answered(ask.id, name, body.encode(), elapsed=1.0, now=NOW)


def refused(session: WebPushSession, ask: Ask, code: str) -> list[Action]:
    """A worker refuses."""
    return answer(session, ask, "refused.v1", RefusedV1(code=code, message="no"))


REGISTERED = "client.registered.v1", ClientRegisteredV1(client=CLIENT)
ACTIVATED = (
    "channels.activated.v1",
    ChannelsActivatedV1(sequence=1, selected=(SelectedChannel(type="websocket", state="active"),)),
)
SUBSCRIBED = "application.registered.v1", ApplicationRegisteredV1(token=TOKEN, sequence=1)
