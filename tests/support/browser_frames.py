"""What a browser says to a gateway in the protocol ``push-notification``, and what is for one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.gateway.protocol.webpush.uaids import secret_text, write_uaid
from tests.support.device_frames import CLIENT, SECRET, deliver, delivery_id

CHANNEL_ID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_CHANNEL_ID = "fedcba98-7654-3210-fedc-ba9876543210"
KEY = "B" + "A" * 85 + "A"
RANDOM = bytes(range(32))
OWN_SECRET = secret_text(RANDOM)
UAID = write_uaid(CLIENT, SECRET)
TOKEN = "k1." + "T" * 40
ENCRYPTED = ContentEncryption(coding="aes128gcm")
ENTRY = 64
"""Octets that a queued frame takes in a gateway beside its own."""


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


def push(
    number: int = 1,
    data: bytes = b"\xfb\xff sealed",
    *,
    now: datetime | None = None,
    **changes: Any,
) -> DeliverItem:
    """A step of an encrypted delivery for the subscription :data:`CHANNEL_ID`."""
    content = Content.of(data).model_copy(update={"encryption": ENCRYPTED})
    values = {"content": content, "application": "webpush", "instance": CHANNEL_ID}
    return deliver(number, now=now, **{**values, **changes})
