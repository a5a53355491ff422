"""IDs of published messages, which say when."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.platform.message_ids import MessageIds, published_at


def test_message_ids_are_unique_and_say_when() -> None:
    """Two connections never make the same one, and the time is that of the publish."""
    one, two = MessageIds(), MessageIds()
    before = time.time()
    made = [id_ for ids in (one, two, one) for _, id_ in zip(range(50), ids.now(), strict=False)]
    assert len(set(made)) == len(made)
    assert max(map(len, made)) <= 255
    for id_ in made:
        at = published_at(id_)
        assert at is not None
        assert before - 0.001 <= at <= time.time()


@given(st.none() | st.text(max_size=300) | st.from_regex(r"aoi-[0-9a-f_ x-]{0,20}"))
def test_any_message_id_can_be_read(message_id: str | None) -> None:
    """A foreign one says a time or nothing, and never raises."""
    at = published_at(message_id)
    assert at is None or isinstance(at, float)
