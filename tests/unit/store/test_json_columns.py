"""Values within a column come back as they were packed, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.client import Presence, SessionReplaced
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.ledger import Charge, ChargeState, Ledger
from aoi_events.domain.delivery.state import StepState, StoryEntry
from aoi_events.domain.notifications import RejectedEntry
from aoi_events.domain.planning.plans import Step
from aoi_events.store import json_columns
from aoi_events.store.types import from_text, to_text

T = TypeVar("T")

ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates and NUL, too
CONTENT_TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone.max])
TIMES = st.builds(
    lambda micros, zone: (json_columns.EPOCH + timedelta(microseconds=micros)).astimezone(zone),
    st.integers(-(10**15), 10**16),  # from 1938 to 2286
    ZONES,
)
SECONDS = st.floats(allow_nan=False)
COUNTS = st.integers(0, 2**62)

STEPS = st.builds(
    StepState,
    step=st.builds(
        Step,
        channel=ANY_TEXT,
        start_after=st.none() | st.floats(0.0, 86_400.0),
        ack_within=st.floats(0.001, 86_400.0),
        wake_up=st.booleans(),
        connected=st.booleans(),
        cost=st.floats(0.0, 1e6),
    ),
    attempt=COUNTS,
    retries=COUNTS,
    first_started_at=st.none() | TIMES,
    started_at=st.none() | TIMES,
    retry_at=st.none() | TIMES,
    outcome=st.none()
    | st.builds(
        StepOutcome,
        attempt=COUNTS,
        kind=st.sampled_from(OutcomeKind),
        at=TIMES,
        detail=ANY_TEXT,
        retry_after=SECONDS,
    ),
    over=st.none() | st.sampled_from(Reason),
)
STORY = st.builds(
    StoryEntry,
    at=TIMES,
    what=ANY_TEXT,
    step=st.none() | COUNTS,
    attempt=st.none() | COUNTS,
    channel=st.none() | ANY_TEXT,
    detail=st.none() | ANY_TEXT,
    cost=st.floats(0.0, 1e6),
)
CHARGES = st.builds(
    Charge,
    step=COUNTS,
    attempt=COUNTS,
    channel=ANY_TEXT,
    cost=st.floats(0.0, 1e6),
    state=st.sampled_from(ChargeState),
)


def again(packing: tuple[Callable[[T], str], Callable[[str], T]], value: T) -> T:
    """The value, packed and unpacked."""
    pack, unpack = packing
    return unpack(pack(value))


@given(st.lists(STEPS, max_size=4).map(tuple))
def test_steps(steps: tuple[StepState, ...]) -> None:
    """Every step comes back equal, with every optional part there or not."""
    packed = json_columns.pack_steps(steps)
    assert json_columns.unpack_steps(packed) == steps
    packed.encode()  # a database takes it


@given(st.lists(STORY, max_size=5).map(tuple))
def test_stories(story: tuple[StoryEntry, ...]) -> None:
    """Every line of a story comes back equal."""
    packed = json_columns.pack_story(story)
    assert json_columns.unpack_story(packed) == story
    packed.encode()


@given(st.builds(Ledger, st.floats(0.0, 1e6), st.lists(CHARGES, max_size=5).map(tuple)))
@example(Ledger())
def test_ledgers(ledger: Ledger) -> None:
    """The sum and every charge of a ledger come back equal."""
    packed = json_columns.pack_ledger(ledger)
    assert json_columns.unpack_ledger(packed) == ledger
    packed.encode()


def test_steps_of_newer_code_are_read() -> None:
    """A field that this version does not know is ignored: old workers run beside new ones."""
    text = '[{"channel":"sms","ack_within":1.0,"invented":{"later":1}}]'
    assert json_columns.unpack_steps(text) == (StepState(Step("sms", None, 1.0)),)


@given(ANY_TEXT)
@example("\\0041")
@example("\0\ud800\\")
def test_text(value: str) -> None:
    """Any text comes back, and is harmless between: no NUL, no surrogates, one spelling."""
    written = to_text(value)
    assert from_text(written) == value
    assert "\0" not in written
    written.encode()


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one: str, other: str) -> None:
    """Two texts are equal in the database exactly when they are equal."""
    assert (to_text(one) == to_text(other)) == (one == other)


@given(TIMES)
def test_times(at: datetime) -> None:
    """A time comes back to the microsecond, in UTC."""
    again = json_columns.from_micros(json_columns.to_micros(at))
    assert again == at
    assert again.tzinfo is UTC


@given(TIMES, TIMES)
def test_times_keep_their_order(one: datetime, other: datetime) -> None:
    """Earlier is smaller, which is what indexes sort by."""
    assert (one < other) == (json_columns.to_micros(one) < json_columns.to_micros(other))


@given(
    st.text(CONTENT_TEXT, max_size=100) | st.binary(max_size=100),
    st.sampled_from(
        [
            None,
            ContentEncryption(coding="aes128gcm"),
            ContentEncryption(coding="aesgcm", encryption="salt=MTIz", crypto_key="dh=BAAB"),
        ]
    ),
    st.lists(st.builds(RejectedEntry, COUNTS, ANY_TEXT, ANY_TEXT, ANY_TEXT), max_size=3),
    st.lists(st.tuples(COUNTS, ANY_TEXT), max_size=3),
    st.builds(Presence, ANY_TEXT, ANY_TEXT),
    st.dictionaries(ANY_TEXT, ANY_TEXT | st.booleans() | COUNTS, max_size=4),
)
def test_the_rest(
    data: str | bytes,
    encryption: ContentEncryption | None,
    rejected: list[RejectedEntry],
    pairs: list[tuple[int, str]],
    presence: Presence,
    flat: dict[str, str | int | bool],
) -> None:
    """Content, rejected tokens, pairs, presence and parameters come back equal."""
    content = Content.of(data).model_copy(update={"encryption": encryption})
    assert json_columns.unpack_content(json_columns.pack_content(content)) == content
    assert again(json_columns.REJECTED, tuple(rejected)) == tuple(rejected)
    assert again(json_columns.PAIRS, tuple(pairs)) == tuple(pairs)
    assert again(json_columns.PRESENCE, presence) == presence
    several: list[tuple[Presence, ...]] = [(), (presence,), (presence, presence)]
    for presences in several:
        assert again(json_columns.PRESENCES, presences) == presences
    replaced = SessionReplaced(presence.node, presence.session, by="s2")
    assert again(json_columns.REPLACED, replaced) == replaced
    assert again(json_columns.OBJECT, flat) == flat


def test_content_that_an_earlier_version_packed() -> None:
    """Notifications that were accepted before an upgrade are delivered after it."""
    assert json_columns.unpack_content('["hi","utf-8","text/plain"]') == Content.of("hi")
