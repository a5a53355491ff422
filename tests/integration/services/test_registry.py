"""How many app instances that ended are remembered for each client."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aoi_events.contracts.requests import DeregisterApplicationV1
from aoi_events.ports.store import Store
from aoi_events.services.registration.unit_of_work import Registry
from tests.support.rows import NOW, a_client, an_application, client_id


@pytest.mark.parametrize("ended,left", [(2, [1, 2]), (3, [2, 3])])
async def test_one_too_many_is_forgotten(empty_store: Store, ended: int, left: list[int]) -> None:
    """Exactly as many as may be remembered stay; of one more, the oldest goes."""
    asked = DeregisterApplicationV1(
        version=1, client=client_id(1), application="x", instance="default", sequence=1
    )
    rows = [
        an_application(1, f"com.example.n{n}", sequence=n, registered=False)
        for n in range(1, ended + 1)
    ]
    async with empty_store.transaction() as tx:
        await tx.save_clients([a_client(1)])
        await tx.save_applications(rows)
    now = NOW + timedelta(days=1)
    async with empty_store.transaction() as tx:
        registry = await Registry.load(tx, [asked], now)
        assert registry.ended[client_id(1)] == ended
        await registry.forget(keep=2)
    async with empty_store.transaction(read_only=True) as tx:
        known = await tx.applications_of({client_id(1)})
    assert sorted(app.sequence for app in known) == left
