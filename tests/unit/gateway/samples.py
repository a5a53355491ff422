"""Sessions and frames for the tests of sessions, at a fixed time."""

from __future__ import annotations

import json
from typing import Any

from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.gateway.protocol.aoi_session import AoiSession
from aoi_events.gateway.protocol.effects import Close, Effect, Send
from aoi_events.gateway.settings import GatewaySettings
from tests.support import device_frames
from tests.support.device_frames import (
    CLIENT,
    OTHER_CLIENT,
    SECRET,
    SESSION,
    ack,
    connected,
    delivery_id,
    hello,
    request,
)
from tests.support.instant import INSTANT as NOW

__all__ = [
    "CLIENT",
    "NOW",
    "OTHER_CLIENT",
    "SECRET",
    "SESSION",
    "ack",
    "closing",
    "connected",
    "deliver",
    "delivery_id",
    "frames",
    "hello",
    "new_session",
    "open_session",
    "request",
]


def deliver(number: int = 1, **changes: Any) -> DeliverItem:
    """A step of the delivery with that number, accepted at :data:`NOW`."""
    return device_frames.deliver(number, now=NOW, **changes)


def new_session(**settings: Any) -> AoiSession:
    """A session that waits for its hello since 0 s."""
    return AoiSession(SESSION, GatewaySettings(**settings), elapsed=0.0)


def open_session(**settings: Any) -> AoiSession:
    """A session of :data:`CLIENT` that is open under epoch 1."""
    session = new_session(**settings)
    session.received(hello(), elapsed=0.0, now=NOW)
    session.admitted(connected(), elapsed=0.0, now=NOW)
    return session


def frames(effects: list[Effect]) -> list[dict[str, Any]]:
    """The frames that are sent to the device."""
    return [json.loads(effect.frame) for effect in effects if isinstance(effect, Send)]


def closing(effects: list[Effect]) -> int | None:
    """The close code, if the connection would be closed."""
    codes = [int(effect.code) for effect in effects if isinstance(effect, Close)]
    return codes[0] if codes else None
