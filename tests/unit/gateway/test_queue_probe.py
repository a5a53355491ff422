"""The probes of a gateway's queue: proved while they come back, gone when one does not."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aoi_events.gateway.protocol.queue_probe import Effect, QueueProbe, ReopenQueue, SendProbe

EVERY, WITHIN = 2.0, 3.0


def opened() -> QueueProbe:
    """A probe whose queue was opened at 0 s."""
    probe = QueueProbe(every=EVERY, within=WITHIN)
    assert probe.opened(0.0) == SendProbe(1)
    return probe


def tick(probe: QueueProbe, elapsed: float, *, blocked: bool = False) -> Effect | None:
    """Let time pass until then."""
    return probe.tick(elapsed, blocked=blocked)


def test_a_queue_is_proved_when_its_first_probe_comes_back() -> None:
    """Before that it is not, however it was opened; then a probe follows every two seconds."""
    probe = opened()
    assert "no probe" in (probe.fault or "")
    probe.came_back(1, 0.1)
    assert probe.fault is None
    assert tick(probe, 2.0) is None
    assert tick(probe, 2.1) == SendProbe(2)


def test_a_returned_probe_ends_the_queue_at_once() -> None:
    """The queue counts as gone until a probe comes back through the next one."""
    probe = opened()
    probe.came_back(1, 0.0)
    assert tick(probe, 2.0) == SendProbe(2)
    assert isinstance(probe.returned(2, 2.0), ReopenQueue)
    assert "no such queue" in (probe.fault or "")
    assert probe.opened(2.5) == SendProbe(3)
    assert probe.fault is not None
    probe.came_back(3, 2.6)
    assert probe.fault is None


def test_a_probe_that_stays_away_ends_the_queue() -> None:
    """Patience lasts three seconds, and doubles with each queue that fails in turn, up to 24."""
    probe, elapsed = opened(), 0.0
    for patience in (3.0, 6.0, 12.0, 24.0, 24.0):
        assert tick(probe, elapsed + patience - 0.1) is None
        elapsed += patience
        assert isinstance(tick(probe, elapsed), ReopenQueue)
        probe.opened(elapsed)
    probe.came_back(6, elapsed)
    assert tick(probe, elapsed + EVERY) == SendProbe(7)
    assert isinstance(tick(probe, elapsed + EVERY + WITHIN), ReopenQueue)


def test_a_queue_that_is_not_opened_in_time_is_asked_for_again() -> None:
    """Opening may hang on a connection whose peer is silent: it is replaced once more."""
    probe = opened()
    assert isinstance(tick(probe, 3.0), ReopenQueue)
    assert tick(probe, 8.9) is None
    assert isinstance(tick(probe, 9.0), ReopenQueue)


def test_a_probe_waits_behind_other_messages() -> None:
    """While messages arrive, a queue with a backlog is not taken for gone."""
    probe = opened()
    for elapsed in (2.0, 4.0, 6.0):
        assert tick(probe, elapsed) is None
        probe.arrived(elapsed)
    assert tick(probe, 8.9) is None
    assert isinstance(tick(probe, 9.0), ReopenQueue)


def test_a_broker_that_blocks_publishers_keeps_the_queue() -> None:
    """During an alarm the queue is not proved, and not replaced; its probe comes back later."""
    probe = opened()
    for elapsed in (1.0, 3.0, 60.0):
        assert tick(probe, elapsed, blocked=True) is None
        assert "alarm" in (probe.fault or "")
    probe.came_back(1, 60.1)
    assert probe.fault is None


def test_patience_begins_anew_when_an_alarm_ends() -> None:
    """The probe comes back after all that publishers sent during the alarm."""
    probe = opened()
    for elapsed in (3.0, 59.9):
        assert tick(probe, elapsed, blocked=True) is None
    assert tick(probe, 60.0) is None
    assert tick(probe, 62.8) is None
    assert isinstance(tick(probe, 62.9), ReopenQueue)


def test_a_probe_that_was_not_published_proves_nothing() -> None:
    """The queue is not proved, and another probe follows: the fault may not be the queue's."""
    probe = opened()
    probe.unpublished(1, "no connection", 0.0)
    assert "no connection" in (probe.fault or "")
    assert tick(probe, 2.0) == SendProbe(2)


def test_workers_that_could_not_reach_a_proved_queue_end_it() -> None:
    """Their word outweighs the probe, once: a queue that is not proved is replaced anyway."""
    probe = opened()
    assert probe.unreachable(0.0) is None
    probe.came_back(1, 0.0)
    assert isinstance(probe.unreachable(1.0), ReopenQueue)
    assert probe.unreachable(1.0) is None


class AnyHistory(RuleBasedStateMachine):
    """A gateway whose broker does anything, with results that come late, twice or never."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = QueueProbe(every=EVERY, within=WITHIN)
        self.elapsed = 0.0
        self.number = 0
        self.open = False

    def do(self, effect: Effect | None) -> None:
        """Perform an effect."""
        match effect:
            case SendProbe(number):
                assert self.open
                assert number == self.number + 1
                self.number = number
            case ReopenQueue(reason):
                assert reason
                self.open = False
            case None:
                pass

    @rule(seconds=st.floats(0.1, 30.0), blocked=st.booleans())
    def wait(self, seconds: float, blocked: bool) -> None:
        """Time passes."""
        self.elapsed += seconds
        self.do(self.probe.tick(self.elapsed, blocked=blocked))

    @rule()
    def opens(self) -> None:
        """A queue is open, for whatever reason."""
        self.open = True
        self.do(self.probe.opened(self.elapsed))
        assert self.probe.fault is not None

    @rule(behind=st.integers(0, 2))
    def comes_back(self, behind: int) -> None:
        """A probe arrives, the last one or an earlier one."""
        before = self.probe.fault
        self.probe.came_back(self.number - behind, self.elapsed)
        if behind or not self.open:
            assert self.probe.fault == before

    @rule(behind=st.integers(0, 2))
    def is_returned(self, behind: int) -> None:
        """A probe is returned, the last one or an earlier one."""
        effect = self.probe.returned(self.number - behind, self.elapsed)
        assert effect is None or not behind
        self.do(effect)

    @rule(behind=st.integers(0, 2))
    def fails(self, behind: int) -> None:
        """A probe cannot be published."""
        self.probe.unpublished(self.number - behind, "why", self.elapsed)

    @rule()
    def is_doubted(self) -> None:
        """Workers could not reach the queue."""
        self.do(self.probe.unreachable(self.elapsed))

    @invariant()
    def a_queue_that_is_gone_is_not_proved(self) -> None:
        """Readiness never outlives the queue."""
        assert self.open or self.probe.fault is not None

    @invariant()
    def silence_never_lasts(self) -> None:
        """Once a queue was opened, either a probe or a reopening follows within half a minute."""
        if self.number:
            effect = self.probe.tick(self.elapsed + 8 * WITHIN, blocked=False)
            assert effect is not None
            self.elapsed += 8 * WITHIN
            self.do(effect)


TestAnyHistory = AnyHistory.TestCase
