"""What channel workers note of their providers, and what waits for these."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.state import StepState
from aoi_events.domain.planning.plans import Step
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.ports.store import Store
from tests.support.rows import NOW, a_delivery, delivery_id, later

UP = ProviderHealth("sms", "host/1", "north", BreakerState.CLOSED, NOW)
DOWN = ProviderHealth(
    "sms", "host/1", "south", BreakerState.OPEN, NOW, NOW, later(5), "no link\0 to the SMSC"
)
OTHER = ProviderHealth("sms", "host/2", "south", BreakerState.HALF_OPEN, later(30), NOW, later(60))


async def test_each_worker_replaces_what_it_noted(store: Store) -> None:
    """What a worker does not name any more is gone; of others nothing is; and a worker that notes
    nothing leaves nothing.
    """
    async with store.transaction() as tx:
        await tx.note_health("sms", "host/1", [UP, DOWN], forget=later(-60))
        await tx.note_health("sms", "host/2", [OTHER], forget=later(-60))
        assert await tx.health(NOW) == [UP, DOWN, OTHER]
        assert await tx.health(later(1)) == [OTHER]
        mended = replace(DOWN, state=BreakerState.CLOSED, since=None, until=None, why="")
        await tx.note_health("sms", "host/1", [mended], forget=later(-60))
        assert await tx.health(NOW) == [mended, OTHER]
        await tx.note_health("sms", "host/1", [], forget=later(-60))
    async with store.transaction(read_only=True) as tx:
        assert await tx.health(NOW) == [OTHER]


async def test_what_a_dead_worker_noted_is_forgotten(store: Store) -> None:
    """Each note removes the notes that are older than the time it names."""
    async with store.transaction() as tx:
        await tx.note_health("sms", "host/1", [UP, DOWN], forget=later(-60))
        await tx.note_health("sms", "host/2", [OTHER], forget=later(10))
        assert await tx.health(later(-999)) == [OTHER]


async def test_what_waits_is_counted_by_channel(store: Store) -> None:
    """Only deliveries with a step that awaits its provider count: not those that were refused, that
    have ended, or whose provider answered since.
    """
    waits = StepState(
        Step("sms", 0.0, 30.0),
        attempt=3,
        first_attempt=1,
        started_at=NOW,
        first_started_at=NOW,
        retry_at=later(5),
        outcome=StepOutcome(3, OutcomeKind.UNAVAILABLE, NOW),
    )
    refused = replace(waits, outcome=StepOutcome(3, OutcomeKind.REFUSED, NOW))
    again = replace(waits, attempt=4, retry_at=None)
    steps = [(waits,), (waits, replace(waits, step=Step("webhook", None, 30.0))), (refused,)]
    rows = [
        replace(a_delivery(number), state=DeliveryState.SENDING, steps=each, deadline=later(5))
        for number, each in enumerate([*steps, (again,)], 1)
    ]
    ended = replace(
        a_delivery(9), state=DeliveryState.CANCELLED, steps=(waits,), deadline=None, settled_at=NOW
    )
    untold = replace(ended, id=delivery_id(10), published=False, deadline=later(5))
    async with store.transaction() as tx:
        await tx.add_deliveries([*rows, ended, untold])
        assert await tx.count_awaiting_provider(100) == {"sms": 2, "webhook": 1}
        assert await tx.count_awaiting_provider(1) in ({"sms": 1}, {"sms": 1, "webhook": 1})
