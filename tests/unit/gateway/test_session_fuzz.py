"""Whatever a device sends, and however events interleave: bounded, answered, never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.device import DEVICE_REQUESTS, MAX_FRAME, CloseCode, server_frames
from aoi_events.gateway.actions import Action, Admit, Ask, Close, Leave, Report, Send
from aoi_events.gateway.session import Session, State
from tests.unit.gateway.samples import (
    CLIENT,
    NOW,
    SECRET,
    ack,
    connected,
    deliver,
    hello,
    new_session,
    open_session,
    request,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
near_frames = st.fixed_dictionaries(
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
anything = st.one_of(
    near_frames,
    st.text(max_size=200),
    st.binary(max_size=200),
    st.integers(1, 3_000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 3_000).map(lambda depth: '{"type":' * depth),
    st.integers(MAX_FRAME - 2, MAX_FRAME + 2).map(lambda size: "1" * size),
)


def check(session: Session, actions: list[Action]) -> None:
    """What must hold of anything that a session wants done."""
    for action in actions:
        match action:
            case Send(frame):
                server_frames.validate_json(frame)
                assert len(frame) <= MAX_FRAME
            case Ask():
                assert action.name in DEVICE_REQUESTS
                body = json.loads(action.body, parse_constant=lambda text: 1 / 0)
                assert "secret" not in body
                assert action.name == "client.register" or body["client"] == session.client
            case Report(outcome):
                assert outcome.client == CLIENT
                outcome.encode()
            case Close(code, reason):
                CloseCode(code)
                assert len(reason.encode()) <= 123
                assert session.state is State.CLOSED
            case Admit() | Leave():
                pass


@given(frames=st.lists(anything, max_size=8), opened=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_frames_are_answered_or_end_the_session(
    frames: list[str | bytes], opened: bool
) -> None:
    """Random JSON, near-misses of frames, nesting, random bytes: a proper action or an end."""
    session = open_session() if opened else new_session()
    for frame in frames:
        check(session, session.received(frame, elapsed=1.0, now=NOW))


def test_ten_megabytes_are_not_parsed() -> None:
    """A huge frame ends the session with 1009, as text and as octets."""
    for data in ("x" * 10_000_000, b"\xff" * 10_000_000):
        actions = open_session().received(data, elapsed=1.0, now=NOW)
        assert [int(each.code) for each in actions if isinstance(each, Close)] == [1009]


@pytest.mark.parametrize(
    "data",
    ["\x01" * MAX_CONTENT, "\\" * MAX_CONTENT, "é" * (MAX_CONTENT // 2), b"\xff" * MAX_CONTENT],
)
def test_every_content_fits_a_frame(data: str | bytes) -> None:
    """The largest content, escaped character by character or as base64, is one legal frame."""
    session = open_session()
    actions = session.deliver(deliver(1, content=Content.of(data)), elapsed=1.0, now=NOW)
    assert len(actions) == 1
    check(session, actions)


class Connections(RuleBasedStateMachine):
    """One session under any interleaving of device, workers, time and loss."""

    window, backlog, in_flight = 3, 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.session = new_session(
            window=self.window,
            backlog=self.backlog,
            requests_in_flight=self.in_flight,
            forget_after=50,
            frames_burst=1_000,
        )
        self.elapsed = 0.0
        self.epoch = 0
        self.asked: list[int] = []
        self.admitting = self.announcing = False
        self.unsettled: dict[tuple[str, int], bool] = {}
        self.sent: set[tuple[str, int]] = set()
        self.lefts: list[int] = []
        self.attempts = 0

    def act(self, actions: list[Action]) -> None:
        """Check what the session wants, and keep account of it."""
        check(self.session, actions)
        for action in actions:
            match action:
                case Admit():
                    self.admitting = True
                case Ask(number):
                    self.asked.append(number)
                case Report(outcome) if outcome.attempt is not None:
                    self.unsettled.pop((outcome.delivery, outcome.attempt), None)
                case Leave(_, epoch):
                    self.lefts.append(epoch)
                case Send(frame):
                    self.note(json.loads(frame))
                case Report() | Close():
                    pass

    def note(self, frame: dict[str, Any]) -> None:
        """Keep account of a frame that the device would read."""
        if frame["type"] == "notification":
            self.sent.add((frame["delivery"], frame["attempt"]))
        if frame["type"] == "answer" and frame["id"] in self.asked:
            self.asked.remove(frame["id"])

    @rule()
    def say_hello(self) -> None:
        """The device says hello."""
        if self.session.state is State.WAITING:
            self.act(self.session.received(hello(), elapsed=self.elapsed, now=NOW))

    @rule(current=st.booleans())
    def admit(self, current: bool) -> None:
        """The workers admit it."""
        if self.admitting:
            self.admitting = False
            self.epoch += 1
            answer = connected(self.epoch)
            self.announcing = not current and self.session.state is State.ADMITTING
            self.act(self.session.admitted(answer, elapsed=self.elapsed, now=NOW, current=current))

    @rule()
    def rename(self) -> None:
        """The node's name changes."""
        if self.session.state is State.OPEN:
            self.session.renamed()
            self.announcing = True

    @rule()
    def announce(self) -> None:
        """The workers answer an announcement."""
        if self.announcing:
            self.announcing = False
            self.epoch += 1
            self.act(self.session.announced(connected(self.epoch), elapsed=self.elapsed, now=NOW))

    @rule(number=st.integers(1, 8), ahead=st.integers(-1, 1))
    def deliver(self, number: int, ahead: int) -> None:
        """A step arrives, for the epoch or one beside it."""
        self.attempts += 1
        item = deliver(number, attempt=self.attempts, epoch=self.epoch + ahead)
        self.unsettled = {
            key: held for key, held in self.unsettled.items() if key[0] != item.delivery
        }
        self.unsettled[item.delivery, item.attempt] = True
        self.act(self.session.deliver(item, elapsed=self.elapsed, now=NOW))

    @rule(number=st.integers(1, 8))
    def acknowledge(self, number: int) -> None:
        """The device acknowledges something, sent or not."""
        if self.session.state is State.OPEN:
            self.act(self.session.received(ack(number), elapsed=self.elapsed, now=NOW))
            for key in [key for key in self.unsettled if key[0] == deliver(number).delivery]:
                del self.unsettled[key]

    @rule(number=st.integers(1, 3))
    def ask(self, number: int) -> None:
        """The device asks."""
        if self.session.state is State.OPEN:
            frame = request("channel.activate", number)
            self.act(self.session.received(frame, elapsed=self.elapsed, now=NOW))

    @rule(silence=st.booleans())
    def answer(self, silence: bool) -> None:
        """The workers answer, or nobody does."""
        if self.asked:
            number = self.asked[0]
            if silence:
                self.act(self.session.unanswered(number, elapsed=self.elapsed, now=NOW))
            else:
                actions = self.session.answered(
                    number, "x.v1", b"{}", elapsed=self.elapsed, now=NOW
                )
                self.act(actions)
            if self.session.state is State.CLOSED:
                self.asked.remove(number)

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes; what is due is done once."""
        self.elapsed += seconds
        due = self.session.due()
        if due is not None and due <= self.elapsed:
            self.act(self.session.tick(elapsed=self.elapsed, now=NOW))
            due = self.session.due()
            assert due is None or due > self.elapsed

    @rule()
    def lose(self) -> None:
        """The connection is lost."""
        if self.session.state is State.OPEN and self.attempts > 10:
            self.act(self.session.lost(now=NOW))

    @invariant()
    def bounded(self) -> None:
        """Nothing grows beyond its bound."""
        under_way, waiting = self.session._window._under_way, self.session._window._waiting
        assert len(under_way) <= self.window
        assert len(waiting) <= self.window + self.backlog
        assert len(self.asked) <= self.in_flight

    @invariant()
    def nothing_vanishes_at_the_end(self) -> None:
        """Each step was sent, or something was reported of it."""
        if self.session.state is State.CLOSED:
            silent = {key for key in self.unsettled if key not in self.sent}
            assert not silent, "a delivery was neither sent nor reported"

    @invariant()
    def no_epoch_is_left_behind(self) -> None:
        """The presence that was opened last was given up."""
        if self.session.state is State.CLOSED and self.session.epoch is not None:
            assert self.session.epoch in self.lefts


TestConnections = Connections.TestCase
TestConnections.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
