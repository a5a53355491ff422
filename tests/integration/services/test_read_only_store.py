"""Workers on a store that takes no writes for a while."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import make_url

from aoi_events.testing.containers import PostgresServer
from tests.support.containers import in_containers
from tests.support.standby import set_read_only
from tests.support.system import System


@pytest.mark.parametrize("backend", [in_containers("rabbitmq+postgresql")], indirect=True)
async def test_requests_wait_while_the_store_is_read_only(
    system: System, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """While PostgreSQL refuses writes a request waits, without an answer, and the process is not
    ready; when it takes writes again the request is answered, and nothing was parked.
    """
    await system.client()
    ready = system.installation.checks["store"]
    assert await ready()
    database = make_url(system.installation.settings.store.get_secret_value()).database
    assert database is not None
    await set_read_only(postgres_server, database, on=True)
    asking = asyncio.create_task(system.client("tel:+15550101"))

    async def pauses() -> int:
        system.clock.advance(0.1)
        return sum(record.getMessage() == "paused" for record in caplog.records)

    await system.until(pauses, lambda count: count > 3)
    assert not asking.done()
    assert not await ready()
    await set_read_only(postgres_server, database, on=False)

    async def answered() -> bool:
        system.clock.advance(0.1)
        return asking.done()

    await system.until(answered, bool)
    assert (await asking).identity == "tel:+15550101"
    assert await ready()
    assert await system.parked() == []
