"""Topics: of the open deliveries of one token, sender and topic, the newest alone stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.facts import Cancelled, Decision, Planned
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.services.notification.topics import older_of_topics, replaced
from tests.support.histories import at
from tests.support.strategies import EPOCH, a_delivery, plans


@st.composite
def deliveries(draw: st.DrawFn, prefix: str) -> list[Delivery]:
    """Some that were accepted and planned, of few tokens, senders and topics, so that they meet."""
    count = draw(st.integers(0, 8))
    rows = [
        replace(
            a_delivery(),
            id=f"dlv_{prefix}{number}",
            fingerprint=draw(st.sampled_from(["fp_one", "fp_two"])),
            sender=draw(st.sampled_from(["shop", "bank"])),
            topic=draw(st.sampled_from([None, "score", "news"])),
        )
        for number in range(count)
    ]
    return [
        decide(row, Planned(draw(plans())), now=EPOCH, jitter=0.5).delivery
        if draw(st.booleans())
        else decide(row, Planned(()), now=EPOCH, jitter=0.5).delivery
        for row in rows
    ]


@given(st.lists(deliveries("n"), max_size=6))
def test_at_most_the_newest_of_a_topic_is_open(batches: list[list[Delivery]]) -> None:
    """RFC 8030, 5.4, whatever arrives in one batch or in several: the last delivery of each topic
    is open; those without topic, of another token or another sender are left alone; each that ends
    is due at once, so that its event is published.
    """
    kept: dict[str, Delivery] = {}
    for number, rows in enumerate(batches):
        fresh = [replace(row, id=f"{row.id}of{number}") for row in rows]
        keys = {_key(row) for row in fresh if row.topic is not None}
        older = [row for row in kept.values() if not row.state.terminal and _key(row) in keys]
        decisions = [Decision(row, (), changed=True) for row in fresh]
        ended, decided = replaced(older, decisions, at(1))
        assert [decision.delivery.id for decision in decided] == [row.id for row in fresh]
        kept |= {decision.delivery.id: decision.delivery for decision in (*ended, *decided)}
        for row, before in zip((d.delivery for d in decided), fresh, strict=True):
            assert row == before or row.state is DeliveryState.REPLACED
    rows = list(kept.values())
    newest = {_key(row): row for row in rows if row.topic is not None}
    assert all(not row.state.terminal for row in newest.values())
    counts = Counter(_key(row) for row in rows if row.topic is not None and not row.state.terminal)
    assert all(count == 1 for count in counts.values())
    for row in rows:
        if row.topic is None:
            assert not row.state.terminal
        elif row.state.terminal:
            assert row.state is DeliveryState.REPLACED
            assert (row.published, row.deadline) == (False, at(1))


def test_what_ended_otherwise_is_not_replaced() -> None:
    """A terminal state stands, should an older one be handed in by mistake."""
    row = decide(replace(a_delivery(), topic="score"), Cancelled(), now=EPOCH, jitter=0.5).delivery
    (ended,), _ = replaced([row], [], at(1))
    assert ended.delivery.state is DeliveryState.CANCELLED


def _key(row: Delivery) -> tuple[str, str, str, str | None]:
    return (row.client, row.fingerprint, row.sender, row.topic)


async def test_without_topics_nothing_is_asked() -> None:
    """What has no topic costs no statement: no transaction is needed to know what it replaces."""
    decisions = [Decision(a_delivery(), (), changed=True)] * 3
    assert await older_of_topics(None, decisions) == ()  # type: ignore[arg-type]  # the point of it
