"""Frames for fuzz tests of each device protocol, and the rules for a session's effects."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

from hypothesis import strategies as st

from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.device import DEVICE_REQUESTS, MAX_FRAME, CloseCode, server_frames
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.webpush import WebPushCloseCode, service_messages
from aoi_events.gateway.protocol.effects import (
    Admit,
    Close,
    Effect,
    EndPresence,
    ForwardRequest,
    ReportOutcome,
    Send,
)
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from tests.support.device_frames import CLIENT, SECRET
from tests.unit.gateway import browsers, samples
from tests.unit.gateway.samples import deliver

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
_noise = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200),
    st.integers(1, 3_000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 3_000).map(lambda depth: '{"type":' * depth),
    st.integers(MAX_FRAME - 2, MAX_FRAME + 2).map(lambda size: "1" * size),
    json_values.map(json.dumps),
)
_REFUSALS: Final = ("unauthenticated", "client_retired", "quota_exceeded", "internal", "new_code")


class ProtocolDriver(ABC):
    """One device protocol: its sessions, its frames, and the answers of its workers."""

    frames: ClassVar[st.SearchStrategy[str | bytes]]
    """Frames, near-misses of frames, and noise."""
    answers: ClassVar[st.SearchStrategy[tuple[str | None, bytes]]] = st.one_of(
        st.sampled_from(_REFUSALS).map(
            lambda code: ("refused.v1", RefusedV1(code=code, message="no").encode())
        ),
        st.tuples(st.none() | st.just("x.v1") | st.just("refused.v1"), st.binary(max_size=20)),
        st.sampled_from([browsers.REGISTERED, browsers.ACTIVATED, browsers.SUBSCRIBED]).map(
            lambda good: (good[0], good[1].encode())
        ),
    )
    """What a worker may answer to anything, its right answers among it."""
    asks_in: ClassVar[tuple[SessionState, ...]] = (SessionState.OPEN,)
    """When it may ask and acknowledge."""

    @abstractmethod
    def session(self, **settings: Any) -> DeviceSession:
        """One that waits for its hello."""

    @abstractmethod
    def hello(self) -> str:
        """A hello that asks for admission."""

    @abstractmethod
    def ask(self, number: int) -> str:
        """A request."""

    @abstractmethod
    def ack(self, number: int) -> str:
        """An acknowledgement of the delivery with that number."""

    @abstractmethod
    def push(self, number: int, **changes: Any) -> DeliverItem:
        """A step of the delivery with that number."""

    @abstractmethod
    def check_frame(self, frame: bytes) -> None:
        """Check that a device can read this frame."""

    @abstractmethod
    def check_code(self, code: int) -> None:
        """Check that a device knows this close code."""


class _Aoi(ProtocolDriver):
    frames = _noise | st.fixed_dictionaries(
        {"type": st.sampled_from(["hello", "request", "ack", "welcome", "x"]) | json_values},
        optional={
            "client": st.just(CLIENT) | json_values,
            "secret": st.just(SECRET) | json_values,
            "id": st.integers() | json_values,
            "name": st.sampled_from(sorted(DEVICE_REQUESTS)) | json_values,
            "body": st.dictionaries(st.text(max_size=8), json_values, max_size=4) | json_values,
            "delivery": st.just(deliver().delivery) | json_values,
            "code": st.sampled_from(["delivered", "could_not_wake"]) | json_values,
            "attempt": st.integers() | json_values,
            "channel": st.sampled_from(["sms", "websocket"]) | json_values,
        },
    ).map(json.dumps)

    def session(self, **settings: Any) -> DeviceSession:
        return samples.new_session(**settings)

    def hello(self) -> str:
        return samples.hello()

    def ask(self, number: int) -> str:
        return samples.request("channel.activate", number)

    def ack(self, number: int) -> str:
        return samples.ack(number)

    def push(self, number: int, **changes: Any) -> DeliverItem:
        return deliver(number, **changes)

    def check_frame(self, frame: bytes) -> None:
        server_frames.validate_json(frame)

    def check_code(self, code: int) -> None:
        CloseCode(code)


_channels = st.sampled_from([browsers.CHANNEL_ID, browsers.OTHER_CHANNEL_ID])
_updates = st.fixed_dictionaries(
    {
        "channelID": _channels | json_values,
        "version": st.integers(1, 8).map(samples.delivery_id) | json_values,
    },
    optional={"code": st.sampled_from([100, 101, 102, 103]) | json_values},
)


class _Browser(ProtocolDriver):
    frames = _noise | st.fixed_dictionaries(
        {
            "messageType": json_values
            | st.sampled_from(
                ["hello", "register", "unregister", "ack", "nack", "ping", "broadcast_subscribe"]
            )
        },
        optional={
            "uaid": st.just(browsers.UAID) | st.text("aA-_", min_size=64, max_size=64),
            "channelID": _channels | json_values,
            "key": st.just(browsers.KEY) | json_values,
            "updates": st.lists(_updates, max_size=4) | json_values,
            "version": st.text(max_size=30),
            "code": st.integers() | json_values,
            "broadcasts": st.dictionaries(st.text(max_size=8), json_values) | json_values,
        },
    ).map(json.dumps)

    def session(self, **settings: Any) -> DeviceSession:
        return browsers.new_session(**settings)

    def hello(self) -> str:
        return browsers.hello()

    def ask(self, number: int) -> str:
        return browsers.register() if number % 2 else browsers.unregister()

    def ack(self, number: int) -> str:
        return browsers.ack(number)

    def push(self, number: int, **changes: Any) -> DeliverItem:
        return browsers.push(number, **changes)

    def check_frame(self, frame: bytes) -> None:
        if frame != b"{}":
            service_messages.validate_json(frame)

    def check_code(self, code: int) -> None:
        WebPushCloseCode(code)


class _UnregisteredBrowser(_Browser):
    asks_in = (SessionState.ADMITTING, SessionState.OPEN)

    def hello(self) -> str:
        return browsers.hello(None)


AOI: Final = _Aoi()
BROWSER: Final = _Browser()
UNREGISTERED: Final = _UnregisteredBrowser()


def check(driver: ProtocolDriver, session: DeviceSession, effects: list[Effect]) -> None:
    """Check the rules that all effects of a session follow."""
    closed = False
    for effect in effects:
        match effect:
            case Send(frame):
                assert not closed, "a frame after the end"
                driver.check_frame(frame)
                assert len(frame) <= MAX_FRAME
            case ForwardRequest():
                assert not closed, "a request after the end"
                _check_request(driver, session, effect)
            case ReportOutcome(outcome):
                assert outcome.client == CLIENT
                outcome.encode()
            case Close(code, reason):
                assert not closed, "closed twice"
                closed = True
                driver.check_code(code)
                assert len(reason.encode()) <= 123
                assert session.state is SessionState.CLOSED
            case Admit():
                assert not closed, "an admission after the end"
            case EndPresence():
                pass


def _check_request(driver: ProtocolDriver, session: DeviceSession, ask: ForwardRequest) -> None:
    assert ask.name in DEVICE_REQUESTS
    body = json.loads(ask.body, parse_constant=lambda text: 1 / 0)
    assert "secret" not in body
    assert ask.client == body.get("client")
    if ask.name not in ("client.register", "client.deregister"):
        assert ask.client == session.client
    if isinstance(driver, _Browser):
        # A browser has no part in them, so they are right.
        parse_request(ask.name, ask.body)
