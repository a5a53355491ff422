"""The gateway's outbox while the broker is away."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.gateway.protocol.effects import EndPresence
from aoi_events.gateway.workers.outbox import Outbox
from aoi_events.testing.stopped_clock import ManualClock
from tests.support.limits import WITHIN
from tests.support.rows import client_id


async def test_an_outage_is_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    """It tries five times a second, and does not log that as often."""
    server, clock = MemoryServer(), ManualClock()
    outbox = Outbox(MemoryBroker(server), clock, bound=10)
    server.stop()
    caplog.set_level(logging.INFO)
    running = asyncio.create_task(outbox.run())
    outbox.put(EndPresence(client_id(1), 1))
    async with asyncio.timeout(WITHIN):
        for _ in range(20):
            await clock.somebody_sleeps()
            clock.advance(0.2)
            await asyncio.sleep(0)
    running.cancel()
    assert [each.getMessage() for each in caplog.records] == ["outcomes_not_published"]
