"""Random histories of a delivery, checked against the rules after every step."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.deadlines import deadline_of
from aoi_events.domain.delivery.facts import (
    Announce,
    DeadlineReached,
    Fact,
    Planned,
    Reported,
    StartStep,
)
from aoi_events.domain.planning.plans import Step
from aoi_events.domain.retry import Backoff
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery, backoffs, ends, facts, jitters, plans


class Histories(RuleBasedStateMachine):
    """One delivery, everything that can happen to it, and a clock that may go back a little."""

    @initialize(
        first=plans(),
        ttl=st.floats(0.0, 120.0),
        storable=st.booleans(),
        backoff=backoffs(),
        jitter=jitters(),
    )
    def accept(
        self,
        first: tuple[Step, ...],
        ttl: float,
        storable: bool,
        backoff: Backoff,
        jitter: float,
    ) -> None:
        """The delivery is accepted and planned."""
        self.now = EPOCH
        self.backoff = backoff
        self.jitter = jitter
        self.delivery = a_delivery(ttl=ttl, storable=storable)
        self.settled: list[DeliveryState] = []
        self.started: list[StartStep] = []
        self._apply(Planned(first))

    def _apply(self, fact: Fact) -> None:
        decision = take(self.delivery, fact, self.now, jitter=self.jitter, backoff=self.backoff)
        after = decision.delivery
        if after.state.terminal and (after.state, after.by) != (
            self.delivery.state,
            self.delivery.by,
        ):
            assert decision.effects.count(Announce()) == 1
            if self.settled:
                assert after.supersedes is self.settled[-1]
            self.settled.append(after.state)
        self.started += [e for e in decision.effects if isinstance(e, StartStep)]
        self.delivery = decision.delivery

    @rule(fact=facts())
    def any_fact(self, fact: Fact) -> None:
        """Anything at all, most of it stray."""
        self._apply(fact)

    @rule(fact=ends())
    def an_end(self, fact: Fact) -> None:
        """What settles at once: a rule of its own, so that many histories go on without it."""
        self._apply(fact)

    @precondition(lambda self: self.started)
    @rule(
        data=st.data(),
        kind=st.sampled_from(tuple(OutcomeKind)[:8]),
        retry_after=st.sampled_from([0.0, 3.0, 40.0]),
    )
    def an_outcome(self, data: st.DataObject, kind: OutcomeKind, retry_after: float) -> None:
        """An outcome of an attempt that was made: in time, late, or once more."""
        made = data.draw(st.sampled_from(self.started))
        self._apply(
            Reported(
                kind, at=self.now, step=made.step, attempt=made.attempt, retry_after=retry_after
            )
        )

    @precondition(lambda self: self.started and self.delivery.state.terminal)
    @rule(data=st.data(), kind=st.sampled_from(OutcomeKind))
    def a_word_after_the_end(self, data: st.DataObject, kind: OutcomeKind) -> None:
        """What a provider or the device says of an attempt after the delivery has ended."""
        event(f"{kind} after {self.delivery.by or self.delivery.state}")
        made = data.draw(st.sampled_from(self.started))
        self._apply(Reported(kind, at=self.now, step=made.step, attempt=made.attempt))

    @rule(seconds=st.floats(-2.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        """Time passes for the next worker; another worker's clock may be behind."""
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.delivery.deadline is not None)
    @rule(plan=plans())
    def deadline(self, plan: tuple[Step, ...]) -> None:
        """The deadlines worker takes the delivery at its deadline."""
        self._look(plan)

    @precondition(lambda self: not self.delivery.state.terminal)
    @rule(under_way_too=st.booleans())
    def the_device_comes_back(self, under_way_too: bool) -> None:
        """The store releases the delivery: due at once when it is idle."""
        if self.delivery.idle:
            self.delivery = replace(self.delivery, released=True, deadline=self.now, published=True)
        elif under_way_too:
            self.delivery = replace(self.delivery, released=True)

    @precondition(lambda self: self.delivery.published)
    @rule()
    def unpublished(self) -> None:
        """The deadlines worker commits and dies before its confirm."""
        self.delivery = replace(
            self.delivery,
            published=False,
            deadline=self.now + timedelta(seconds=5),
        )

    def _look(self, plan: tuple[Step, ...]) -> None:
        assert self.delivery.deadline is not None
        self.now = max(self.now, self.delivery.deadline)
        if not self.delivery.published:
            # Published again, unchanged, and confirmed.
            self.delivery = replace(
                self.delivery, published=True, deadline=deadline_of(self.delivery)
            )
            return
        self._apply(Planned(plan) if self.delivery.released else DeadlineReached())

    @invariant()
    def settles_once(self) -> None:
        """One settlement; after it only corrections to delivered, each naming what it corrects."""
        if not hasattr(self, "settled"):
            return
        assert all(state is DeliveryState.DELIVERED for state in self.settled[1:])
        assert len(self.settled) <= 3
        assert bool(self.settled) == self.delivery.state.terminal

    def teardown(self) -> None:
        """Whatever happened, following the deadlines ends it in time."""
        if not hasattr(self, "delivery"):
            return
        looks = 0
        seen: set[datetime] = set()
        while self.delivery.deadline is not None:
            looks += 1
            assert looks < 500
            before, at = self.delivery, max(self.now, self.delivery.deadline)
            self._look(())
            assert self.delivery != before, "a look at a deadline that has come makes progress"
            if not before.released and before.published:
                assert at not in seen, "time moves between two looks"
                seen.add(at)
        assert self.delivery.state.terminal
        assert len(self.settled) >= 1
        self.settles_once()


Histories.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestHistories = Histories.TestCase
TestHistories.__doc__ = "Every history keeps the rules, settles exactly once, ends in time."
