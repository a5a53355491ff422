"""Reports after stronger evidence: any history up to it, then each kind of report, by construction.

The rules (see :mod:`tests.support.rules`) hold on every decision; the strategies here see to it
that each pair of (evidence, later evidence) is reached by every example of its test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import (
    Cancelled,
    DeadlineReached,
    Fact,
    Failed,
    Planned,
    Replaced,
    Reported,
    StartStep,
)
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step
from tests.support.rules import is_of_this_plan, take
from tests.support.strategies import EPOCH, a_delivery, plans

TTL = 3_600.0
ENDS: dict[DeliveryState, Fact] = {
    DeliveryState.CANCELLED: Cancelled(),
    DeliveryState.REPLACED: Replaced(),
    DeliveryState.FAILED: Failed(Reason.REASSIGNED),
    DeliveryState.EXPIRED: DeadlineReached(),
}
REFUSALS = (OutcomeKind.COULD_NOT_WAKE, OutcomeKind.DISCARDED, OutcomeKind.NO_SUCH_APPLICATION)
PROVIDERS = tuple(kind for kind in OutcomeKind if kind not in (*REFUSALS, OutcomeKind.ACKNOWLEDGED))
UNDER_WAY = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        st.sampled_from([None, *(kind for kind in PROVIDERS if kind is not OutcomeKind.RECEIPTED)]),
        st.integers(0, 5),
    ),
    max_size=4,
)
"""Seconds, what is said then (None: somebody looks), and of which of the attempts so far."""

CONTENT = st.lists(
    st.builds(
        Step, st.just("sms"), start_after=st.sampled_from([None, 0.0]), ack_within=st.just(30.0)
    ),
    min_size=1,
    max_size=2,
).map(tuple)
"""Plans over providers only: nobody else is about to speak."""


@dataclass
class History:
    """A delivery, the time, and every attempt that was made."""

    delivery: Delivery
    now: datetime
    made: list[StartStep]

    def take(self, fact: Fact) -> None:
        """This happens now."""
        decision = take(self.delivery, fact, self.now)
        self.made += [e for e in decision.effects if isinstance(e, StartStep)]
        self.delivery = decision.delivery

    def say(self, kind: OutcomeKind, which: int | StartStep = -1) -> Reported:
        """An outcome of one of the attempts, now."""
        made = which if isinstance(which, StartStep) else self.made[which % len(self.made)]
        word = Reported(kind, self.now, made.step, made.attempt, channel="sms", detail="late")
        self.take(word)
        return word

    def look(self) -> None:
        """Process the deadline, if there is one before the delivery expires."""
        due = self.delivery.deadline
        if due is not None and due < self.delivery.expires_at:
            self.now = max(self.now, due)
            self.take(DeadlineReached())

    @property
    def oldest(self) -> StartStep:
        """The first attempt of the first step, which was made twice at least."""
        return StartStep(0, self.delivery.steps[0].first_attempt)

    @property
    def newest(self) -> StartStep:
        """The last attempt of the first step."""
        return StartStep(0, self.delivery.steps[0].attempt)


def history(plan: tuple[Step, ...], words: list[tuple[float, OutcomeKind | None, int]]) -> History:
    """The plan's first step is refused and retried; then this is reported."""
    told = History(a_delivery(ttl=TTL), EPOCH, [])
    told.take(Planned(plan))
    told.say(OutcomeKind.REFUSED, 0)
    while told.delivery.steps[0].attempt == 1:
        told.look()
    for seconds, kind, which in words:
        told.now += timedelta(seconds=seconds)
        if kind is None:
            told.look()
        else:
            told.say(kind, which)
    return told


def end(told: History, state: DeliveryState) -> None:
    """End the delivery otherwise than as delivered, unless a provider's word does that first."""
    if state is DeliveryState.EXPIRED:
        told.now = told.delivery.expires_at
    told.take(ENDS[state])


def judged(delivery: Delivery) -> tuple[object, ...]:
    """How it stands."""
    return (delivery.state, delivery.by, delivery.channel, delivery.settled_at, delivery.supersedes)


@pytest.mark.parametrize("later", OutcomeKind)
@settings(max_examples=30)
@given(plans(min_size=1), UNDER_WAY, st.integers(0, 9), st.booleans())
def test_after_the_devices_acknowledgement_no_word_changes_anything(
    later: OutcomeKind,
    plan: tuple[Step, ...],
    words: list[tuple[float, OutcomeKind | None, int]],
    which: int,
    older: bool,
) -> None:
    """A provider's receipt, acceptance or refusal, of any attempt, and whatever the device says
    after that it has it: the delivery stays exactly as it is.
    """
    told = history(plan, words)
    told.say(OutcomeKind.ACKNOWLEDGED, which)
    before = told.delivery
    assert before.by is Evidence.DEVICE
    told.now += timedelta(seconds=5)
    told.say(later, told.oldest if older else which)
    assert told.delivery == before


@pytest.mark.parametrize("later", [*PROVIDERS, *REFUSALS])
@settings(max_examples=30)
@given(CONTENT, UNDER_WAY, st.booleans())
def test_after_a_providers_receipt_only_an_acknowledgement_counts(
    later: OutcomeKind,
    plan: tuple[Step, ...],
    words: list[tuple[float, OutcomeKind | None, int]],
    older: bool,
) -> None:
    """Delivered by provider stays so, as of the first word, whatever a provider says after it and
    whatever the device refuses; the device's acknowledgement takes its place, and supersedes it.
    """
    told = history(plan, words)
    told.say(OutcomeKind.RECEIPTED, told.oldest if older else told.newest)
    before = told.delivery
    assert before.by is Evidence.PROVIDER
    told.now += timedelta(seconds=5)
    told.say(later, told.oldest)
    assert judged(told.delivery) == judged(before)
    told.say(OutcomeKind.ACKNOWLEDGED)
    assert told.delivery.by is Evidence.DEVICE
    assert told.delivery.supersedes is DeliveryState.DELIVERED


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("later", PROVIDERS)
@settings(max_examples=20)
@given(plans(min_size=1), UNDER_WAY, st.sampled_from([None, *ENDS]), st.booleans())
def test_after_the_devices_refusal_no_provider_delivers(
    later: OutcomeKind,
    refusal: OutcomeKind,
    plan: tuple[Step, ...],
    words: list[tuple[float, OutcomeKind | None, int]],
    state: DeliveryState | None,
    older: bool,
) -> None:
    """The device refused, before the end or after it: no receipt and no acceptance of that plan
    delivers, at once or at expiry; the device's own acknowledgement does.
    """
    told = history(plan, words)
    if state is not None:
        end(told, state)
    assume(told.delivery.by is None)
    told.say(refusal, told.newest)
    assert told.delivery.refused_by_device
    before = told.delivery.state
    told.now += timedelta(seconds=5)
    told.say(later, told.oldest if older else told.newest)
    told.now = max(told.now, told.delivery.expires_at)
    told.take(DeadlineReached())
    ended = told.delivery
    assert ended.by is None
    assert ended.state in (before, DeliveryState.EXPIRED)
    told.say(OutcomeKind.ACKNOWLEDGED)
    assert told.delivery.by is Evidence.DEVICE
    assert told.delivery.supersedes is ended.state


@pytest.mark.parametrize("state", ENDS)
@pytest.mark.parametrize("later", [*PROVIDERS, OutcomeKind.ACKNOWLEDGED])
@settings(max_examples=20)
@given(plans(min_size=1), UNDER_WAY, st.integers(0, 9), st.booleans())
def test_after_an_end_the_device_and_a_receipt_correct_it(
    later: OutcomeKind,
    state: DeliveryState,
    plan: tuple[Step, ...],
    words: list[tuple[float, OutcomeKind | None, int]],
    which: int,
    older: bool,
) -> None:
    """Cancelled, replaced, failed or expired: a late acknowledgement corrects it, and so does a
    receipt of an attempt, also an earlier one, that carried the content; nothing else does.
    """
    told = history(plan, words)
    end(told, state)
    assume(told.delivery.by is None)
    assert told.delivery.state is state
    before = told.delivery
    told.now += timedelta(seconds=5)
    word = told.say(later, told.oldest if older else which)
    match later:
        case OutcomeKind.ACKNOWLEDGED:
            expected = Evidence.DEVICE
        case OutcomeKind.RECEIPTED if is_of_this_plan(before, word):
            expected = Evidence.PROVIDER
        case _:
            assert told.delivery == replace(before, published=told.delivery.published)
            return
    assert (told.delivery.by, told.delivery.supersedes) == (expected, state)
