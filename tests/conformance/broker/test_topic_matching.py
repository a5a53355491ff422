from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aoi_events.ports.broker import Broker, Outbound, Published
from aoi_events.topology import Binding, Exchange, Queue, QueueKind
from tests.conformance.broker.messages import bodies, declare

WORDS = st.sampled_from(["a", "b", "client", ""])
KEYS = st.lists(WORDS, max_size=5).map(".".join)
PATTERNS = st.lists(WORDS | st.sampled_from(["*", "#"]), max_size=5).map(".".join)
numbers = count()


def takes(pattern: list[str], key: list[str]) -> bool:
    """The rule as the specification tells it, word by word."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return takes(pattern[1:], key) or (bool(key) and takes(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and takes(pattern[1:], key[1:])


def words(text: str) -> list[str]:
    """The empty string has no words."""
    return text.split(".") if text else []


@given(patterns=st.lists(PATTERNS, min_size=1, max_size=3), keys=st.lists(KEYS, max_size=12))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_topics_route_as_the_specification_says(
    broker: Broker, patterns: list[str], keys: list[str]
) -> None:
    """Whatever the patterns and routing keys, a queue gets exactly what one of its patterns takes.

    Source: AMQP 0-9-1, section 3.1.3.3.
    """
    number = next(numbers)
    topics = f"topics-{number}"
    await declare(broker, exchanges=[Exchange(topics)])
    bindings = tuple(Binding(topics, pattern) for pattern in patterns)
    queue = Queue(f"queue-{number}", QueueKind.EXCLUSIVE, bindings)
    subscription = await broker.subscribe(queue, prefetch=50)
    results = await broker.publish([Outbound(topics, key, key.encode()) for key in keys])
    expected = [
        key for key in keys if any(takes(words(pattern), words(key)) for pattern in patterns)
    ]
    routed = [
        key for key, result in zip(keys, results, strict=True) if result is Published.CONFIRMED
    ]
    assert routed == expected
    assert await bodies(subscription, len(expected)) == expected
    await subscription.stop()
