"""The bound on what waits for a client: which deliveries fail, and what their decisions keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from aoi_events.contracts.states import DeliveryState, Reason
from aoi_events.domain.delivery.facts import Announce, CloseChannel, Decision, LosePresence
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.store import Store
from aoi_events.services.delivery.backlog import limit_backlog
from aoi_events.services.delivery.release import release_idle
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.runtime.settings import ServiceSettings
from tests.integration.services.conftest import KEYS
from tests.support.rows import (
    NOW,
    a_delivery,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
    stored,
    under_way,
)

SETTINGS = ServiceSettings(
    token_keys=KEYS.token_keys,
    challenge_key=KEYS.challenge_key,
    plugins={},
    traits={},
    gateways=frozenset(),
)
FAILED, STORED = DeliveryState.FAILED, DeliveryState.STORED


def sent(number: int) -> Delivery:
    """A delivery whose first attempt is under way."""
    row = under_way(a_delivery(number))
    return replace(row, steps=tuple(replace(step, first_attempt=1) for step in row.steps))


def deferred(delivery: Delivery) -> Decision:
    """The decision that the delivery waits for its device."""
    return Decision(stored(delivery), (Announce(),), changed=True)


async def saved(store: Store, *deliveries: Delivery) -> list[Delivery]:
    """The deliveries as they stand in the store, in the order in which they were sent."""
    async with store.transaction() as tx:
        await fill(tx, (1,), deliveries)
        found = await tx.deliveries([each.id for each in deliveries])
    return [found[each.id] for each in deliveries]


async def decided(
    store: Store, before: Sequence[Delivery], decisions: Sequence[Decision], backlog: int
) -> list[Decision]:
    """The decisions with the bound applied."""
    async with store.transaction() as tx:
        known = {row.id: row for row in before}
        return await limit_backlog(tx, decisions, before=known, backlog=backlog, now=later(1))


def states(decisions: Sequence[Decision]) -> dict[str, DeliveryState]:
    """How each delivery ends up, by its ID."""
    return {each.delivery.id: each.delivery.state for each in decisions}


@pytest.mark.parametrize("backwards", [False, True])
async def test_of_several_the_newest_fail(empty_store: Store, *, backwards: bool) -> None:
    """The order in which they were sent decides, not their IDs or their places in the batch."""
    rows = await saved(empty_store, *(sent(n) for n in (9, 5, 7)))
    decisions = [deferred(row) for row in rows]
    after = await decided(empty_store, rows, decisions[::-1] if backwards else decisions, 2)
    assert states(after) == {
        delivery_id(9): STORED,
        delivery_id(5): STORED,
        delivery_id(7): FAILED,
    }


def tried_again(delivery: Delivery) -> Delivery:
    """The delivery whose first attempt was refused, while the second one is under way."""
    row = under_way(delivery)
    steps = tuple(replace(step, attempt=2, first_attempt=1) for step in row.steps)
    return replace(row, steps=steps, attempts=2)


def released(delivery: Delivery) -> Delivery:
    """The delivery that was stored, while the attempt after its release is under way."""
    row = under_way(delivery)
    steps = tuple(replace(step, first_attempt=1) for step in row.steps)
    return replace(row, steps=steps, batch=1)


@pytest.mark.parametrize("earlier", [stored, tried_again, released])
async def test_what_was_put_off_before_has_its_place(
    empty_store: Store, earlier: Callable[[Delivery], Delivery]
) -> None:
    """An older delivery that is put off for the first time fails, and the newer one stays."""
    rows = await saved(empty_store, sent(1), earlier(a_delivery(2)))
    after = await decided(empty_store, rows, [deferred(row) for row in rows], 1)
    assert states(after) == {delivery_id(1): FAILED, delivery_id(2): STORED}


async def test_what_ends_frees_its_place(empty_store: Store) -> None:
    """A stored delivery that is delivered in the same batch makes room for another one."""
    rows = await saved(empty_store, stored(a_delivery(1)), sent(2))
    ended = Decision(settled(rows[0]), (Announce(),), changed=True)
    after = await decided(empty_store, rows, [ended, deferred(rows[1])], 1)
    assert states(after)[delivery_id(2)] is STORED


async def test_a_failure_keeps_what_was_heard_of_channels_and_presences(
    empty_store: Store,
) -> None:
    """Only the announcement of *stored* is replaced by that of the failure."""
    rows = await saved(empty_store, sent(1))
    heard = (LosePresence(3), CloseChannel("sms", "no such number", NOW))
    decision = Decision(stored(rows[0]), (*heard, Announce()), changed=True)
    (after,) = await decided(empty_store, rows, [decision], 0)
    assert after.delivery.state is FAILED
    assert after.delivery.reason == Reason.BACKLOG_FULL
    assert after.effects == (*heard, Announce())


async def test_only_the_decision_that_puts_off_fails(empty_store: Store) -> None:
    """An earlier decision of the same batch, about an attempt that was under way, stands."""
    rows = await saved(empty_store, sent(1))
    first = Decision(rows[0], (LosePresence(3),), changed=True)
    after = await decided(empty_store, rows, [first, deferred(rows[0])], 0)
    assert [each.delivery.state for each in after] == [rows[0].state, FAILED]
    assert after[0] == first


async def test_only_stored_rows_release_what_rests(empty_store: Store) -> None:
    """A row whose attempt is under way says nothing of the device; a stored one does."""
    await saved(empty_store, a_delivery(1), a_delivery(2))

    async def due() -> list[bool]:
        async with empty_store.transaction(read_only=True) as tx:
            found = await tx.deliveries([delivery_id(1), delivery_id(2)])
        return [row.released for row in found.values()]

    moving = [under_way(a_delivery(1)), settled(a_delivery(2))]
    assert await release_idle(empty_store, moving, SETTINGS, later(1)) == []
    assert await due() == [False, False]
    idle = [stored(a_delivery(1))]
    assert idle[0].client == client_id(1)
    assert await release_idle(empty_store, idle, SETTINGS, later(1)) == [hint()]
    assert await due() == [True, True]
