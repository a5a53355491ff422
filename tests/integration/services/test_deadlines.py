"""The deadlines worker forgets nothing, whichever process dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text, update

from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import TokenKeys
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.services.deadlines.worker import DeadlinesWorker
from aoi_events.store.store import SqlStore
from aoi_events.store.tables import deliveries
from aoi_events.testing.scripted import Say
from aoi_events.testing.stopped_clock import FixedDice
from aoi_events.topology import hints_queue
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.limits import WITHIN
from tests.support.system import System


async def worker_that_dies(system: System) -> DeadlinesWorker:
    """A deadlines worker whose broker is gone when it wants to publish."""
    broker = await system.connect("aoi")
    await broker.close()
    found = system.installation
    return DeadlinesWorker(found.store, broker, found.services, system.clock, system.dice)


@BOTH
async def test_what_was_committed_and_not_published_comes_again(system: System) -> None:
    """Each transition is committed as unpublished under a short deadline; after that it is
    published again, unchanged.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.next_delivery()
    system.clock.advance(31)
    with pytest.raises(BrokerUnavailable):
        await (await worker_that_dies(system)).process_due()
    (row,) = await system.rows("n1")
    assert not row.published
    await system.process_due()
    assert system.provider.taken == []

    await system.advance(6)
    item = await system.provider.next_delivery()
    (after,) = await system.rows("n1")
    assert after.published
    assert (item.attempt, after.steps[1].attempt) == (2, 2)


async def test_an_end_that_was_not_published_is_told_later(system: System) -> None:
    """A terminal row is watched until its event has left."""
    shop = await system.user()
    device = await system.device()
    await shop.send("n1", device.token, ttl=10)
    system.clock.advance(11)
    with pytest.raises(BrokerUnavailable):
        await (await worker_that_dies(system)).process_due()
    assert system.events.of("notification.expired") == []
    await system.advance(6)
    await system.events.wait_for("notification.expired", notification="n1")
    (row,) = await system.rows("n1")
    assert (row.published, row.deadline) == (True, None)


async def test_a_batch_whose_end_was_not_published_is_followed_later(system: System) -> None:
    """The next stored batch becomes due even if the worker that ended one died."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token, ttl=20)
    await node.connect(device)
    await system.process_due()
    await node.next_delivery()
    system.clock.advance(21)
    with pytest.raises(BrokerUnavailable):
        await (await worker_that_dies(system)).process_due()
    await system.advance(6)
    await system.events.wait_for("notification.expired", notification="n1")


@BOTH
async def test_workers_share_what_is_due(system: System) -> None:
    """Point 5: any number of copies: each due delivery is moved by one of them."""
    shop = await system.user()
    device = await system.device(apps=[f"app{n}" for n in range(40)])
    await shop.send("n1", *device.tokens.values(), ttl=10)
    found = system.installation
    system.clock.advance(11)
    workers = [
        DeadlinesWorker(
            found.store, found.broker, found.services, system.clock, system.dice, batch=5
        )
        for _ in range(3)
    ]

    async def drain(worker: DeadlinesWorker) -> None:
        while await worker.process_due():
            pass

    await asyncio.gather(*map(drain, workers))
    await system.events.wait_for("notification.expired", count=40)
    assert len(system.events.of("notification.expired")) == 40


async def test_a_delivery_that_fails_alone_is_parked(system: System) -> None:
    """One row that cannot be handled ends as *failed: parked*; the others of its batch move on."""
    shop = await system.user()
    device = await system.device("scripted:a1", apps=("a", "b", "c"))
    system.provider.default = Say.refused(retry_after=20)
    for name, token in device.tokens.items():
        await shop.send(name, token)
    for _ in "abc":
        await system.provider.next_delivery()
    await system.until(
        lambda: system.rows("a", "b", "c"), lambda rows: all(r.steps[0].retry_at for r in rows)
    )
    # An attempt whose window would end after the last of all times: arithmetic on it fails.
    (row,) = await system.rows("b")
    step = replace(row.steps[0], retry_at=None, started_at=datetime.max.replace(tzinfo=UTC))
    async with system.installation.store.transaction() as tx:
        await tx.save_deliveries([replace(row, steps=(step,))])
    await system.advance(21)
    failed = await system.events.wait_for("notification.failed", notification="b")
    assert failed.data.reason == Reason.PARKED  # type: ignore[union-attr]
    again = {(await system.provider.next_delivery()).notification for _ in "ac"}
    assert again == {"a", "c"}


async def test_the_loop_polls_and_is_woken(system: System) -> None:
    """Polled, and woken by a hint, also by one that comes while it looks."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token, ttl=3_600)
    await system.run(system.installation.deadlines().run)
    await node.connect(device)  # publishes a hint; nobody moves the clock
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    silent = await system.device()
    await shop.send("n2", silent.token, ttl=10)

    async def wait() -> bool:
        system.clock.advance(1)
        return bool(system.events.of("notification.expired", notification="n2"))

    await system.until(wait, bool)


async def test_it_stops_at_once_while_broker_and_store_are_away(system: System) -> None:
    """Point 5: the worker drains on a stop, even while it waits for the broker to come back."""
    shop = await system.user()
    device = await system.device()
    await shop.send("n1", device.token, ttl=10)
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.ensure_future((await worker_that_dies(system)).run(stop, started))
    system.clock.advance(11)
    await system.until(lambda: system.rows("n1"), lambda rows: not rows[0].published)
    stop.set()
    async with asyncio.timeout(WITHIN):
        await running


async def test_a_broker_that_refuses_hints_for_now_ends_nothing(system: System) -> None:
    """Hints only save time. A broker that has just come back may refuse a worker what it grants
    again a moment later: rows are looked at all the same.
    """
    shop, found = await system.user(), system.installation
    device = await system.device()
    await shop.send("n1", device.token, ttl=10)
    stranger = await system.connect("stranger")
    await stranger.subscribe(hints_queue(FixedDice().token_hex(8)), prefetch=1)
    worker = DeadlinesWorker(found.store, found.broker, found.services, system.clock, FixedDice())
    await system.run(worker.run)

    async def wait() -> bool:
        system.clock.advance(1)
        return bool(system.events.of("notification.expired", notification="n1"))

    await system.until(wait, bool)


async def test_retention_of_one_kind_hinders_no_other(system: System) -> None:
    """Point 4: what cannot be removed now keeps neither the rest of retention nor due rows."""
    shop = await system.user()
    device = await system.device()
    await shop.send("done", device.token, ttl=10)
    await system.advance(11)
    await system.events.wait_for("notification.expired", notification="done")
    await shop.send("due", device.token, ttl=9 * 86_400)
    await device.ask("client.deregister")
    store = system.installation.store
    assert isinstance(store, SqlStore)
    async with store.transaction() as tx:
        await tx._run(text("DROP TABLE submissions"))
    system.clock.advance(10 * 86_400)
    await system.run(system.installation.deadlines().run)
    await system.until(lambda: system.rows("done"), lambda rows: not rows)
    await system.events.wait_for("notification.failed", notification="due")


async def test_a_row_whose_client_ended_unnoticed_is_settled(system: System) -> None:
    """Deliveries of a retired client end when they are processed, whenever that is."""
    shop = await system.user()
    device = await system.device()
    await shop.send("n1", device.token, ttl=60)
    await device.ask("client.deregister")
    store = system.installation.store
    assert isinstance(store, SqlStore)
    late = system.clock.advance(1)
    async with store.transaction() as tx:
        await tx._run(update(deliveries).values(deadline=late))
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n1")
    assert failed.data.reason == Reason.DEREGISTERED  # type: ignore[union-attr]


async def test_retention_forgets_what_is_over(system: System) -> None:
    """Point 4: settled deliveries are removed after their time; what is open stays."""
    shop = await system.user()
    device = await system.device()
    await shop.send("done", device.token, ttl=10)
    await shop.send("open", device.token, ttl=28 * 86_400)
    await system.advance(11)
    await system.events.wait_for("notification.expired", notification="done")
    system.clock.advance(8 * 86_400)
    await system.run(system.installation.deadlines().run)
    await system.until(lambda: system.rows("done"), lambda rows: not rows)
    assert len(await system.rows("open")) == 1


@BOTH
async def test_a_registration_that_nobody_used_expires(system: System) -> None:
    """Unused registrations expire, with their tokens and deliveries; events report it, also when
    the worker that ended them died before it could. Clients that connected stay.
    """
    shop, node = await system.user(), await system.node()
    unused, used = await system.device(), await system.device()
    await node.connect(used)
    await shop.send("n1", unused.token, ttl=28 * 86_400)
    system.clock.advance(20 * 86_400)
    heard = await system.device()
    await shop.send("n2", unused.token, ttl=28 * 86_400)
    system.clock.advance(11 * 86_400)
    doomed = await worker_that_dies(system)
    with pytest.raises(BrokerUnavailable):
        await doomed._unused.process_due()
    assert system.events.of("client.expired") == []
    worker = system.installation.deadlines()
    assert await worker._unused.process_due() == 0, "the other one may be about to tell it"
    system.clock.advance(6)
    assert await worker._unused.process_due() == 1
    assert await worker._unused.process_due() == 0
    await system.events.wait_for("client.expired", client=unused.client)
    await system.events.wait_for("application.revoked", client=unused.client, reason="unused")
    assert len(system.events.of("client.expired")) == 1
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n2")
    assert failed.data.reason == Reason.UNUSED  # type: ignore[union-attr]
    (rejected,) = (await shop.send("n3", unused.token)).rejected
    assert rejected.code == "token_revoked"
    refused = await unused.refused("application.register", application="org.mail", sequence=9)
    assert refused.code == "client_retired"
    for device in (used, heard):
        await device.register_app()
    system.clock.advance(8 * 86_400)
    await system.run(worker.run)
    await system.until(lambda: _client(system, unused.client), lambda client: client is None)


async def test_a_client_that_fell_silent_expires(open_system: OpenSystem) -> None:
    """Point 4: the registration of a device that was used once expires after long silence, whatever
    channels were active; one that connects in time stays.
    """
    system = await open_system(policy={"keep_silent": 100 * 86_400})
    shop, node = await system.user(), await system.node()
    silent, alive = await system.device("scripted:a1"), await system.device("scripted:a2")
    for device in (silent, alive):
        await node.connect(device)
    system.clock.advance(60 * 86_400)
    await alive.activate("scripted:a2")
    system.provider.default = Say.refused(retry_after=86_400)
    await shop.send("n1", silent.token, ttl=28 * 86_400)
    system.clock.advance(39 * 86_400)
    worker = system.installation.deadlines()
    assert await worker._unused.process_due() == 0
    await shop.send("n2", silent.token, ttl=28 * 86_400)
    system.clock.advance(86_401)
    assert await worker._unused.process_due() == 1
    await system.events.wait_for("client.expired", client=silent.client)
    await system.events.wait_for("application.revoked", client=silent.client, reason="unused")
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n2")
    assert failed.data.reason == Reason.UNUSED  # type: ignore[union-attr]
    assert (await silent.refused("notification.fetch", delivery="dlv_" + "a" * 26)).code
    assert await _client(system, alive.client) is not None
    assert len(system.events.of("client.expired")) == 1


async def _client(system: System, client: str) -> Client | None:
    async with system.installation.store.transaction(read_only=True) as tx:
        return (await tx.clients({client})).get(client)


async def test_a_missing_token_key_makes_nobody_fail(system: System) -> None:
    """A delivery does not fail because a key is missing on this machine: processing stops, and is
    repeated by a worker that has the key.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token)
    await node.connect(device)
    without = replace(system.installation.services, token_keys=TokenKeys({"k2": bytes(64)}))
    found = system.installation
    worker = DeadlinesWorker(found.store, found.broker, without, system.clock, system.dice)
    with pytest.raises(ConfigurationError, match="'k1' is still in use"):
        await worker.process_due()
    (row,) = await system.rows("n1")
    assert row.deadline is not None
    await system.advance(10)
    assert (await node.next_delivery()).notification == "n1"
