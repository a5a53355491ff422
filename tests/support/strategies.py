"""Hypothesis strategies for values of the domain, shared by all tests.

Times are offsets from :data:`EPOCH`, in microseconds, because that is what a store keeps: rounding
errors that a real clock would meet are met here too. Values of contracts come from
:mod:`tests.support.strategies_of_contracts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.channels import Channel, ChannelState, ChannelTraits
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.facts import (
    Cancelled,
    DeadlineReached,
    Fact,
    Failed,
    Planned,
    Replaced,
    Reported,
)
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, Step
from aoi_events.domain.planning.policy import ChannelRules, Rules
from aoi_events.domain.retry import Backoff
from tests.support.instant import INSTANT

EPOCH: Final = INSTANT
_ENDS: Final = (OutcomeKind.ACKNOWLEDGED, OutcomeKind.NO_SUCH_APPLICATION)
CHANNELS: Final = ("websocket", "sms", "webpush")


def near_misses(text: str) -> list[str]:
    """Texts that are almost ``text``: one letter or digit is another one, each in its turn, or one
    is left out or added at an end, or the case is another. For secrets, which are compared whole.
    """
    changed = [
        text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        for place in range(len(text))
    ]
    ends = [text[1:], text[:-1], text[:16], "a" + text, text + "a", text + text]
    return [each for each in [*changed, *ends, text.swapcase()] if each != text]


def instants(seconds: float = 120.0) -> st.SearchStrategy[datetime]:
    """Points in time around EPOCH, a little before it too (clocks disagree)."""
    return st.integers(-1_000_000, int(seconds * 1_000_000)).map(
        lambda micros: EPOCH + timedelta(microseconds=micros)
    )


def jitters() -> st.SearchStrategy[float]:
    """Jitter in [0, 1]."""
    return st.floats(0.0, 1.0)


def backoffs() -> st.SearchStrategy[Backoff]:
    """Schedules that make no more attempts than a test can wait for."""
    return st.builds(
        Backoff,
        first=st.floats(0.5, 20.0),
        factor=st.floats(1.5, 4.0),
        ceiling=st.floats(20.0, 300.0),
    )


def costs() -> st.SearchStrategy[float]:
    """Costs of messages; few values, so that sums meet bounds."""
    return st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0])


def rules() -> st.SearchStrategy[Rules]:
    """Any rules of an operator."""
    channel = st.builds(
        ChannelRules,
        least_urgency=st.none() | st.sampled_from(Urgency),
        ack_within=st.none() | st.floats(0.1, 60.0),
        largest=st.none() | st.integers(0, 4096),
        cost=st.none() | costs(),
    )
    return st.builds(
        Rules,
        mode=st.none() | st.sampled_from(Mode),
        hedge_after=st.none() | st.floats(0.1, 60.0),
        preference=st.none() | st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple),
        most_cost=st.none() | st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0]),
        channels=st.dictionaries(st.sampled_from(CHANNELS), channel),
    )


def demands() -> st.SearchStrategy[Demand]:
    """Anything that a plan can be made for."""
    text = st.integers(0, 4096).map(lambda octets: Content(data="x" * octets))
    return st.builds(
        Demand,
        content=st.none() | text,
        urgency=st.sampled_from(Urgency),
        mode=st.none() | st.sampled_from(Mode),
        hedge_after=st.none() | st.floats(0.1, 60.0),
        spent=st.just(0.0) | costs(),
    )


def steps() -> st.SearchStrategy[Step]:
    """Any step that a plan may have; windows and head starts with odd fractions of a second."""
    return st.builds(
        Step,
        channel=st.sampled_from(CHANNELS),
        start_after=st.none() | st.just(0.0) | st.floats(0.0, 90.0),
        ack_within=st.floats(0.001, 60.0),
        wake_up=st.booleans(),
        connected=st.booleans(),
        cost=costs(),
    )


def plans(min_size: int = 0) -> st.SearchStrategy[tuple[Step, ...]]:
    """Up to three steps with any starts: more than the three modes can make."""
    return st.lists(steps(), min_size=min_size, max_size=3).map(tuple)


def outcomes() -> st.SearchStrategy[StepOutcome]:
    """What was reported of a step; few values, so that ties happen."""
    return st.builds(
        StepOutcome,
        attempt=st.integers(1, 3),
        kind=st.sampled_from(OutcomeKind),
        at=instants(2.0) | st.datetimes(timezones=st.just(UTC)),
        detail=st.sampled_from(["", "busy", "later"]),
        retry_after=st.sampled_from([0.0, 5.0]),
    )


def reports(kinds: Sequence[OutcomeKind] = tuple(OutcomeKind)) -> st.SearchStrategy[Reported]:
    """Outcomes as facts: of any step and attempt, also of ones that never were."""
    return st.builds(
        Reported,
        kind=st.sampled_from(kinds),
        at=instants(),
        step=st.none() | st.integers(-1, 3),
        attempt=st.none() | st.integers(0, 6),
        channel=st.none() | st.sampled_from(CHANNELS),
        detail=st.sampled_from(["", "busy"]),
        retry_after=st.sampled_from([0.0, 0.5, 30.0, 3600.0]),
        closes_channel=st.booleans(),
        epoch=st.none() | st.integers(1, 3),
        returns=st.integers(0, 2),
    )


def facts() -> st.SearchStrategy[Fact]:
    """Any fact that settles nothing by itself."""
    going_on = [kind for kind in OutcomeKind if kind not in _ENDS]
    return st.one_of(
        reports(going_on),
        st.builds(Planned, plans()),
        st.just(DeadlineReached()),
    )


def ends() -> st.SearchStrategy[Fact]:
    """Any fact that settles a delivery that is still open."""
    return st.one_of(
        reports(_ENDS),
        st.just(Cancelled()),
        st.just(Replaced()),
        st.builds(Failed, st.sampled_from([Reason.REASSIGNED, Reason.BACKLOG_FULL])),
    )


def a_delivery(*, ttl: float = 120.0, storable: bool = True) -> Delivery:
    """A delivery just accepted at EPOCH, not planned yet."""
    return Delivery(
        id="dlv_" + "a" * 26,
        sender="shop",
        notification="order-1",
        client="cli_" + "a" * 26,
        application="org.example.shop",
        instance="default",
        fingerprint="fp_" + "a" * 13,
        accepted_at=EPOCH,
        expires_at=EPOCH + timedelta(seconds=ttl),
        storable=storable,
    )


@st.composite
def channels_and_traits(
    draw: st.DrawFn,
) -> tuple[list[Channel], dict[str, ChannelTraits], Mode]:
    """A client's channels, what is known of some of their types, and a mode."""
    types = draw(st.lists(st.sampled_from(CHANNELS), unique=True))
    channels = [
        Channel(
            client="cli_" + "a" * 26,
            type=kind,
            state=draw(st.sampled_from(ChannelState)),
            rank=draw(st.integers(0, 2)),
            largest_content=draw(st.none() | st.integers(1, 4096)),
        )
        for kind in types
    ]
    traits = {
        kind: ChannelTraits(
            type=kind,
            connection_oriented=draw(st.booleans()),
            ack_within=draw(st.floats(0.5, 60.0)),
            largest_content=draw(st.none() | st.integers(1, 4096)),
            cost=draw(costs()),
        )
        for kind in draw(st.lists(st.sampled_from(CHANNELS), unique=True))
    }
    return channels, traits, draw(st.sampled_from(Mode))
