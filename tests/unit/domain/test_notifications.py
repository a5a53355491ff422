"""A repeated notification is recognised by its body."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings

from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.domain.notifications import body_hash
from tests.support.strategies_of_contracts import values_of

bodies = values_of(SendNotificationV1)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(bodies, bodies)
def test_the_same_id_with_another_body_is_told_apart(
    one: dict[str, object], other: dict[str, object]
) -> None:
    """Equal requests have equal hashes, others have not: spelling is not the body."""
    first, second = (
        SendNotificationV1.decode(json.dumps(body, indent=indent, sort_keys=bool(indent)))
        for body, indent in ((one, 2), (other, None))
    )
    again = SendNotificationV1.decode(json.dumps(one))
    assert body_hash(first) == body_hash(again)
    assert (body_hash(first) == body_hash(second)) == (first == second)


def test_a_default_is_the_same_said_or_not() -> None:
    """Leaving a field away, or sending its default, is one and the same request."""
    body = {
        "version": 1,
        "notification": "n1",
        "tokens": ["k1." + "A" * 70],
        "content": {"data": "x"},
    }
    said = {**body, "ttl": 86_400, "urgency": "normal"}
    assert body_hash(SendNotificationV1.decode(json.dumps(body))) == body_hash(
        SendNotificationV1.decode(json.dumps(said))
    )
