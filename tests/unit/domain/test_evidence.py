"""The merge of step outcomes: duplicates and reordering change nothing."""

from __future__ import annotations

import random
from datetime import datetime
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery.evidence import RANK, StepOutcome, join
from aoi_events.domain.delivery.facts import Planned, Reported
from aoi_events.domain.planning.plans import Step
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery, instants, outcomes

some = st.none() | outcomes()


@given(some, some)
def test_join_is_commutative(a: StepOutcome | None, b: StepOutcome | None) -> None:
    """The join of two outcomes does not depend on their order."""
    assert join(a, b) == join(b, a)


@given(some, some, some)
def test_join_is_associative(
    a: StepOutcome | None, b: StepOutcome | None, c: StepOutcome | None
) -> None:
    """However they are batched: the same stands."""
    assert join(join(a, b), c) == join(a, join(b, c))


@given(some)
def test_join_is_idempotent(a: StepOutcome | None) -> None:
    """However often it comes: nothing changes; and nothing known is the bottom."""
    assert join(a, a) == a
    assert join(a, None) == a


@given(outcomes(), outcomes())
def test_the_later_attempt_then_the_higher_rank_then_the_earlier_report(
    a: StepOutcome, b: StepOutcome
) -> None:
    """What stands is one of the two, by attempt, then rank, then time."""
    stands = join(a, b)
    assert stands in (a, b)
    assert stands is not None
    assert stands.attempt == max(a.attempt, b.attempt)
    if a.attempt == b.attempt:
        assert RANK[stands.kind] == max(RANK[a.kind], RANK[b.kind])
        if a.kind == b.kind:
            assert stands.at == min(a.at, b.at)


def test_a_device_outranks_everybody() -> None:
    """The order of the ranks: a refusal takes an acceptance back; the device has the last word."""
    kinds = sorted(OutcomeKind, key=RANK.__getitem__)
    assert kinds[:2] == [OutcomeKind.UNAVAILABLE, OutcomeKind.ACCEPTED]
    assert kinds[-1] is OutcomeKind.ACKNOWLEDGED
    assert RANK[OutcomeKind.ACCEPTED] < RANK[OutcomeKind.REFUSED] < RANK[OutcomeKind.REJECTED]
    assert RANK[OutcomeKind.REJECTED] < RANK[OutcomeKind.RECEIPTED]


def test_every_kind_has_a_rank_of_its_own() -> None:
    """Ranks are total and distinct, or the merge would depend on the order of reports."""
    assert RANK.keys() == set(OutcomeKind)
    assert len(set(RANK.values())) == len(RANK)


unsettling = st.sampled_from(
    [
        OutcomeKind.UNAVAILABLE,
        OutcomeKind.ACCEPTED,
        OutcomeKind.REFUSED,
        OutcomeKind.ROUTE_LOST,
        OutcomeKind.PARKED,
        OutcomeKind.REJECTED,
        OutcomeKind.RECEIPTED,
    ]
)


@given(
    st.lists(st.tuples(unsettling, instants(5.0), st.sampled_from(["", "busy"])), max_size=6),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_order_and_duplicates_do_not_change_the_evidence(
    told: list[tuple[OutcomeKind, datetime, str]], order: random.Random, wake_up: bool
) -> None:
    """Any order of the reports on one attempt, with repeats, leads to the same evidence."""
    # A connection under way, so that a receipt is evidence and no settlement.
    steps = (Step("sms", 0.0, 60.0, wake_up=wake_up), Step("websocket", 0.0, 60.0, connected=True))
    facts = [Reported(kind, at, step=0, attempt=1, detail=detail) for kind, at, detail in told]
    shuffled = [*facts, *facts]
    order.shuffle(shuffled)
    evidence = []
    for history in (facts, shuffled):
        delivery = take(a_delivery(), Planned(steps), EPOCH).delivery
        for fact in history:
            delivery = take(delivery, fact, EPOCH).delivery
        evidence.append(delivery.steps[0].outcome)
    assert evidence[0] == evidence[1]
    expected = [StepOutcome(1, fact.kind, fact.at, fact.detail) for fact in facts]
    assert evidence[0] == reduce(join, expected, None)
