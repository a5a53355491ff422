"""What only PostgreSQL can show: locks that are skipped, and plans of statements."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url, text

from aoi_events.errors import ConfigurationError
from aoi_events.ports.store import Kind, Lock
from aoi_events.store.claiming import due
from aoi_events.store.json_columns import to_micros
from aoi_events.store.store import SqlStore, SqlTransaction, open_store
from tests.support.rows import (
    NOW,
    a_client,
    a_delivery,
    a_proof,
    client_id,
    delivery_id,
    fill,
    later,
    settled,
)

_MANY_SETTLED = """
    INSERT INTO deliveries (id, sender, notification, client, application, instance, fingerprint,
        accepted_at, expires_at, storable, state, steps, attempts, returns, settled_at, published,
        released, idle, deferred, awaits_provider, ledger, story)
    SELECT 'old' || n, 's', n, 'c' || n % 1000, 'a', 'i', 'f', n, n, true, 'delivered', '[]', 1, 0,
        n, true, false, true, false, false, '[]', '[]'
    FROM generate_series(1, 1000000) AS n
"""
_MANY_OPEN = """
    INSERT INTO deliveries (id, sender, notification, client, application, instance, fingerprint,
        accepted_at, expires_at, storable, state, steps, attempts, returns, deadline, published,
        released, idle, deferred, awaits_provider, ledger, story)
    SELECT 'open' || n, 's', 'o' || n, 'c' || 1000 + n % 17000, 'a', 'i', 'f', n, n, true, 'stored',
        '[]', 0, 0, 9000000000000000 + n, true, false, true, false, false, '[]', '[]'
    FROM generate_series(1, 200000) AS n
"""
_MANY_RELEASED = """
    INSERT INTO deliveries (id, sender, notification, client, application, instance, fingerprint,
        accepted_at, expires_at, storable, state, steps, attempts, returns, deadline, published,
        released, idle, deferred, awaits_provider, batch, ledger, story)
    SELECT 'back' || n, 's', 'b' || n, 'b' || n / 20, 'a', 'i', 'f', n, n, true, 'stored', '[]', 0,
        0, n / 20, true, true, true, true, false, 1, '[]', '[]'
    FROM generate_series(0, 99999) AS n
"""
_MANY_CLIENTS = """
    INSERT INTO clients (id, secret_hash, device, identity, registered_at, seen_at, sequence,
        sequence_hash, epoch, returns, presences, retired_at)
    SELECT 'c' || n, n, 'd', 'i', 1, 1, 1, '', 1, 1, '[]', CASE WHEN n >= 18000 THEN n END
    FROM generate_series(0, 19999) AS n
"""


@pytest.fixture
async def lesser_user(postgres: SqlStore) -> AsyncIterator[str]:
    """A user of the database, with their name for a password, who may do nothing there yet."""
    name = f"lesser_{uuid4().hex}"
    async with postgres.transaction() as transaction:
        await transaction._run(text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
    yield name
    async with postgres.transaction() as transaction:
        await transaction._run(text(f"DROP OWNED BY {name}"))
        await transaction._run(text(f"DROP ROLE {name}"))


async def test_claims_skip_what_others_hold(postgres: SqlStore) -> None:
    """While one worker's claim is not committed, another claims other rows and does not wait."""
    async with postgres.transaction() as transaction:
        await fill(transaction, range(6), [a_delivery(n, deadline=NOW) for n in range(6)])
        await transaction.save_proofs([a_proof(n, deadline=NOW) for n in range(6)])
    async with postgres.transaction() as one, postgres.transaction() as two:
        assert len(await one.claim_due(NOW, 2, until=later(9))) == 2
        await two.deliveries([delivery_id(5)], Lock.EXCLUSIVE)
        due = await two.claim_due(NOW, 9, until=later(9))
        assert [*due] == [delivery_id(n) for n in (2, 3, 4, 5)]
        assert len(await one.claim_due_proofs(NOW, 2, until=later(9))) == 2
        claimed = await two.claim_due_proofs(NOW, 9, until=later(9))
        assert [client for client, _, _ in claimed] == [client_id(n) for n in (2, 3, 4, 5)]


async def test_retention_skips_what_others_hold(postgres: SqlStore) -> None:
    """A round of retention neither waits for a locked client nor removes it."""
    async with postgres.transaction() as transaction:
        await fill(transaction, (1, 2))
        await transaction.save_clients([a_client(n, retired_at=NOW) for n in (1, 2)])
    async with postgres.transaction() as one, postgres.transaction() as two:
        await one.clients([client_id(1)], Lock.SHARED)
        assert await two.retain(Kind.CLIENTS, before=later(1), limit=9) == 1
        assert set(await one.clients([client_id(1)])) == {client_id(1)}


@pytest.mark.timeout(600)
async def test_due_rows_are_found_among_a_million_settled_ones(postgres_url: str) -> None:
    """Due rows come from the partial index, touching no others; no query reads the whole table, and
    each is answered in the time that workers give it.
    """
    filling = await open_store(postgres_url, patience=200.0, upgrade=True)
    async with filling.transaction() as transaction:
        for rows in (_MANY_CLIENTS, _MANY_SETTLED, _MANY_OPEN):
            await transaction._run(text(rows))
        await fill(transaction, (1,), [a_delivery(n, deadline=later(n)) for n in range(400)])
        await transaction._run(text("ANALYZE clients, deliveries"))
    await filling.close()
    store = await open_store(postgres_url)
    async with store.transaction() as transaction:
        assert await _claim_costs(transaction) < 300
    async with store.transaction() as transaction:
        await _everything(transaction)
        whole = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'")
        assert (await transaction._run(whole)).scalar_one() == 0
        # And that this would have been noticed:
        await transaction._run(text("SELECT count(*) FROM deliveries WHERE story = 'x'"))
        assert (await transaction._run(whole)).scalar_one() > 0
    for _ in range(2):
        async with store.transaction() as transaction:
            removed = await transaction.retain(Kind.CLIENTS, before=NOW, limit=1_000)
            assert removed == 1_000
            # Open rows are looked up by client, not gone through for each.
            read = text(
                "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'"
            )
            assert (await transaction._run(read)).scalar_one() < 10_000
    async with store.transaction() as transaction:
        # Many devices come back at once: of each batch the first is looked for, the rest is passed.
        for statement in (_MANY_RELEASED, "ANALYZE deliveries"):
            await transaction._run(text(statement))
        assert await _claim_costs(transaction) < 20_000
        claimed = await transaction.claim_due(NOW, 50, until=later(900))
        assert len(claimed) == 60, "of batches of 20"
    await store.close()


async def _claim_costs(transaction: SqlTransaction) -> int:
    """The blocks that a claim of 50 reads, all by the indexes that are meant for it."""
    statement = due(later(199), 50).compile(dialect=transaction._connection.dialect)
    found = await transaction._connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}",
        {
            name: to_micros(value) if isinstance(value, datetime) else value
            for name, value in statement.construct_params().items()
        },
    )
    plan = _loaded(found.scalar_one())[0]["Plan"]
    used = {node["Index Name"] for node in _nodes(plan) if "Scan" in node["Node Type"]}
    assert used == {"deliveries_due", "deliveries_released"}
    assert plan["Actual Rows"] == 50
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _everything(transaction: SqlTransaction) -> None:
    """Every query that meets the table of deliveries."""
    client = client_id(1)
    claimed = await transaction.claim_due(later(199), 50, until=later(900))
    assert [*claimed] == [delivery_id(n) for n in range(50)]
    assert await transaction.count_deferred([client, "c1"]) == {client: 400}
    assert await transaction.count_awaiting_provider(100) == {}
    assert len(await transaction.open_deliveries_of([client, "c1"])) == 400
    found = await transaction.deliveries(claimed, Lock.EXCLUSIVE)
    await transaction.save_deliveries([settled(delivery) for delivery in found.values()])
    await transaction.mark_published([(delivery_id(60), later(60), later(60))])
    await transaction.release([client], now=NOW, limit=20)
    await transaction.release_following([(client, 1)], now=NOW, limit=20)
    assert len(await transaction.deliveries_of("s", "7")) == 1
    assert len(await transaction.deliveries_named("7")) == 1
    await transaction.add_deliveries([a_delivery(n) for n in range(1000, 1200)])
    assert await transaction.retain(Kind.DELIVERIES, before=NOW, limit=500) == 500


async def test_missing_rights_are_named_at_the_start(
    postgres: SqlStore, upgraded_postgres_url: str, lesser_user: str
) -> None:
    """For a user without write rights the error names them, with the remedy; a process that only
    reads needs no right to write.
    """
    url = make_url(upgraded_postgres_url).set(username=lesser_user, password=lesser_user)
    lesser = await open_store(url.render_as_string(hide_password=False))
    granting = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO"
    async with postgres.transaction() as transaction:
        await transaction._run(text(f"{granting} {lesser_user}"))
    await lesser.check(rights=True)
    async with postgres.transaction() as transaction:
        await transaction._run(text(f"REVOKE INSERT, DELETE ON proofs FROM {lesser_user}"))
    with pytest.raises(ConfigurationError, match=f"INSERT, DELETE on proofs; .* {granting}"):
        await lesser.check(rights=True)
    await lesser.check()
    await lesser.close()


def _loaded(found: Any) -> Any:
    """What EXPLAIN answered, whether or not the driver decoded it."""
    return json.loads(found) if isinstance(found, str) else found


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes, depth first."""
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
async def test_arrays_reach_the_server_unchanged(
    postgres: SqlStore, values: list[str | None]
) -> None:
    """Every list of texts, NULL among them, is the same array on the server."""
    asked = text("SELECT to_json(CAST(:values AS text[]))::text")
    async with postgres.transaction(read_only=True) as transaction:
        found = (await transaction._run(asked, {"values": values})).scalar_one()
    assert json.loads(found) == values
