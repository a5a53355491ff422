"""However events interleave, in either protocol: bounded, accounted for, over when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.gateway.protocol.effects import (
    Admit,
    Close,
    Effect,
    EndPresence,
    ForwardRequest,
    ReportOutcome,
    Send,
)
from aoi_events.gateway.protocol.session import SessionState
from tests.support.device_frames import CLIENT, connected
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.protocol_drivers import AOI, BROWSER, UNREGISTERED, ProtocolDriver, check

OF_DEVICES = frozenset(
    {
        OutcomeKind.ACKNOWLEDGED,
        OutcomeKind.COULD_NOT_WAKE,
        OutcomeKind.DISCARDED,
        OutcomeKind.NO_SUCH_APPLICATION,
    }
)


class Connections(RuleBasedStateMachine):
    """One session under any interleaving of device, workers, time and loss."""

    driver: ClassVar[ProtocolDriver]
    window, backlog, requests_at_once = 3, 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.session = self.driver.session(
            window=self.window,
            backlog=self.backlog,
            requests_in_flight=self.requests_at_once,
            forget_after=50,
            frames_burst=1_000,
        )
        self.elapsed = 0.0
        self.epoch = 0
        self.asked: list[int] = []
        self.answered: list[int] = []
        self.admitting = self.announcing = False
        self.unsettled: set[tuple[str, int]] = set()
        self.handed: list[DeliverItem] = []
        self.lefts: list[int] = []

    def do(self, act: Callable[[], list[Effect]]) -> list[Effect]:
        """Apply an input; check and record the effects."""
        over = self.session.state is SessionState.CLOSED
        effects = act()
        check(self.driver, self.session, effects)
        if over:
            assert all(isinstance(each, ReportOutcome | EndPresence) for each in effects), effects
        for effect in effects:
            match effect:
                case Admit():
                    assert not self.admitting, "asked for admission twice"
                    self.admitting = True
                case ForwardRequest(number):
                    self.asked.append(number)
                case ReportOutcome(outcome):
                    self.unsettled = {
                        (delivery, attempt)
                        for delivery, attempt in self.unsettled
                        if delivery != outcome.delivery
                        or (outcome.kind not in OF_DEVICES and attempt != outcome.attempt)
                    }
                case EndPresence(_, epoch):
                    self.lefts.append(epoch)
                case Send() | Close():
                    pass
        return effects

    def receive(self, frame: str | bytes) -> None:
        """The device sends a frame."""
        self.do(lambda: self.session.received(frame, elapsed=self.elapsed, now=NOW))

    # -- the device -----------------------------------------------------------------------------

    @precondition(lambda self: self.session.state is SessionState.WAITING)
    @rule()
    def say_hello(self) -> None:
        """The device sends a hello."""
        self.receive(self.driver.hello())

    @rule(data=st.data())
    def say_anything(self, data: st.DataObject) -> None:
        """The device sends an arbitrary frame, which ends most sessions."""
        if len(self.handed) > 8:
            self.receive(data.draw(self.driver.frames))

    @precondition(lambda self: self.session.state in self.driver.asks_in)
    @rule(number=st.integers(1, 8))
    def acknowledge(self, number: int) -> None:
        """The device acknowledges something, sent or not."""
        self.receive(self.driver.ack(number))

    @precondition(lambda self: self.session.state in self.driver.asks_in)
    @rule(number=st.integers(1, 4))
    def ask(self, number: int) -> None:
        """The device asks."""
        self.receive(self.driver.ask(number))

    @rule()
    def lose(self) -> None:
        """The connection is lost."""
        if self.session.state is SessionState.OPEN and len(self.handed) > 10:
            self.do(lambda: self.session.lost(now=NOW))

    # -- the workers ----------------------------------------------------------------------------

    @precondition(lambda self: self.admitting)
    @rule(current=st.booleans(), lost=st.sampled_from([0, 0, 0, 2]))
    def admit(self, current: bool, lost: int) -> None:
        """The workers admit it, perhaps after its end."""
        self.admitting = False
        self.epoch += 1
        answer = connected(self.epoch, lost=lost)
        self.do(
            lambda: self.session.admitted(answer, elapsed=self.elapsed, now=NOW, current=current)
        )
        self.announcing = not current and self.session.state is SessionState.OPEN

    @precondition(lambda self: self.admitting)
    @rule(code=st.sampled_from(["unauthenticated", "client_retired", "internal", None]))
    def turn_away(self, code: str | None) -> None:
        """The workers refuse the hello, or do not answer in time."""
        self.admitting = False
        self.do(lambda: self.session.hello_refused(code, now=NOW))

    @precondition(lambda self: self.session.state is SessionState.OPEN)
    @rule()
    def rename(self) -> None:
        """The node's name changes."""
        self.session.node_renamed()
        self.announcing = True

    @precondition(lambda self: self.announcing)
    @rule()
    def announce(self) -> None:
        """The workers answer an announcement."""
        self.announcing = False
        self.epoch += 1
        self.do(lambda: self.session.announced(self.epoch, elapsed=self.elapsed, now=NOW))

    @rule(number=st.integers(1, 8), ahead=st.integers(-1, 1))
    def deliver(self, number: int, ahead: int) -> None:
        """A step arrives, for the epoch or one beside it."""
        attempt = len(self.handed) + 1
        item = self.driver.push(number, attempt=attempt, epoch=self.epoch + ahead)
        self.handed.append(item)
        self.unsettled = {key for key in self.unsettled if key[0] != item.delivery}
        self.unsettled.add((item.delivery, item.attempt))
        self.do(lambda: self.session.deliver(item, elapsed=self.elapsed, now=NOW))

    @precondition(lambda self: self.handed)
    @rule()
    def deliver_again(self) -> None:
        """The broker delivers the last step once more."""
        item = self.handed[-1]
        self.do(lambda: self.session.deliver(item, elapsed=self.elapsed, now=NOW))

    @precondition(lambda self: self.asked)
    @rule(answer=st.none() | ProtocolDriver.answers, last=st.booleans())
    def answer(self, answer: tuple[str | None, bytes] | None, last: bool) -> None:
        """A worker answers an open request, perhaps after the session's end, or does not."""
        number = self.asked.pop(-1 if last else 0)
        self.answered.append(number)
        self.tell(number, answer)

    @precondition(lambda self: self.answered)
    @rule(answer=st.none() | ProtocolDriver.answers)
    def answer_again(self, answer: tuple[str | None, bytes] | None) -> None:
        """An answer arrives twice."""
        number = self.answered[-1]
        if number not in self.asked:
            assert self.tell(number, answer) == [], "an answer counts once"

    def tell(self, number: int, answer: tuple[str | None, bytes] | None) -> list[Effect]:
        """Apply an answer, or that none arrived in time."""
        elapsed = self.elapsed
        if answer is None:
            return self.do(lambda: self.session.unanswered(number, elapsed=elapsed, now=NOW))
        return self.do(lambda: self.session.answered(number, *answer, elapsed=elapsed, now=NOW))

    # -- time -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes; due limits are applied once."""
        self.elapsed += seconds
        due = self.session.due()
        if due is None or due > self.elapsed:
            return
        before = self.in_flight()
        self.do(lambda: self.session.tick(elapsed=self.elapsed, now=NOW))
        if self.session.state is SessionState.OPEN:
            # What nobody acknowledged for so long is left to its deadline.
            self.unsettled -= before - self.in_flight()
        due = self.session.due()
        assert due is None or due > self.elapsed

    def in_flight(self) -> set[tuple[str, int]]:
        """The deliveries in flight."""
        sent = self.session._window._in_flight.items()
        return {(delivery, each.attempt) for delivery, each in sent}

    # -- what holds at any time -----------------------------------------------------------------

    @invariant()
    def bounded(self) -> None:
        """Nothing grows beyond its bound."""
        window = self.session._window
        assert len(window._in_flight) <= self.window
        assert len(window._waiting) <= self.window + self.backlog
        if self.session.state is not SessionState.CLOSED:
            assert len(self.asked) <= self.requests_at_once

    @invariant()
    def every_delivery_is_reported_at_the_end(self) -> None:
        """Each step was acknowledged by the device, or reported as lost or refused."""
        if self.session.state is SessionState.CLOSED:
            assert not self.unsettled
            assert not self.session._window._in_flight
            assert not self.session._window._waiting

    @invariant()
    def whose_it_is(self) -> None:
        """A session belongs to one client, or to none."""
        assert self.session.client in (None, CLIENT)

    def teardown(self) -> None:
        """In the end the connection is lost, and no presence is left behind."""
        if self.session.state is not SessionState.CLOSED:
            self.do(lambda: self.session.lost(now=NOW))
        self.every_delivery_is_reported_at_the_end()
        if self.session.epoch is not None:
            assert self.session.epoch in self.lefts


class AoiConnections(Connections):
    """Devices that speak ``aoi.v1``."""

    driver = AOI


class BrowserConnections(Connections):
    """Browsers that connect with a known uaid."""

    driver = BROWSER


class UnregisteredConnections(Connections):
    """Browsers that are no client yet."""

    driver = UNREGISTERED


def _thorough(machine: type[Connections]) -> type:
    case = machine.TestCase
    case.settings = settings(
        max_examples=150,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return case


TestAoiConnections = _thorough(AoiConnections)
TestBrowserConnections = _thorough(BrowserConnections)
TestUnregisteredConnections = _thorough(UnregisteredConnections)
