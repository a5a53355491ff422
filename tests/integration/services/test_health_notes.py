"""The notes of a channel worker about its providers, as operators read them in the store."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from aoi_events.channels.webhook import WebhookSettings
from aoi_events.channels.webhook.plugin import WebhookPlugin
from aoi_events.contracts.envelopes import ChallengeItem
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.domain.providers.health import FRESH, ProviderHealth
from aoi_events.ports.channel import ConnectionlessChannel
from aoi_events.services.channel.health import HealthNotes
from tests.support.system import System

MOST = 100


@pytest.fixture
async def channel(system: System) -> AsyncIterator[ConnectionlessChannel]:
    """A channel whose devices name the providers; one failure is trouble."""
    settings = WebhookSettings.model_validate(
        {
            "enabled": True,
            "allow_http": True,
            "networks": ["127.0.0.0/8"],
            "ports": [],
            "failures": 1,
            "signing_key": base64.b64encode(bytes(32)).decode(),
        }
    )
    channel = await WebhookPlugin(clock=system.clock).connect(settings)
    yield channel
    await channel.close()


async def fail(system: System, channel: ConnectionlessChannel, *numbers: int) -> None:
    """Send to addresses without a listener."""
    until = system.clock.now() + timedelta(seconds=60)
    items = [
        ChallengeItem(
            client="cli_" + "a" * 26,
            channel="webhook",
            attempt=1,
            code="A" * 16,
            parameters={"url": f"http://127.0.1.{number}:1/"},
            expires_at=until,
        )
        for number in numbers
    ]
    await channel.deliver(items)


@asynccontextmanager
async def noting(system: System, channel: ConnectionlessChannel) -> AsyncIterator[None]:
    """A worker notes; at the end it is stopped."""
    notes = HealthNotes("webhook", "host/1", channel, system.installation.store, system.clock)
    task = asyncio.create_task(notes.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def noted(system: System, *, worker: str = "host/1") -> Sequence[ProviderHealth]:
    """What stands there of a worker, whenever it was noted."""
    async with system.installation.store.transaction(read_only=True) as tx:
        found = await tx.health(system.clock.now() - timedelta(days=1))
    return [each for each in found if each.worker == worker]


async def test_it_is_fresh_while_the_worker_runs(
    system: System, channel: ConnectionlessChannel
) -> None:
    """A worker whose providers do not change notes them again, long before they count as those of
    a worker that is gone; once it is stopped nothing of it stays.
    """
    async with noting(system, channel):
        (first,) = await system.until(lambda: noted(system), bool)
        system.clock.advance(FRESH.total_seconds() / 4)
        await system.until(lambda: noted(system), lambda rows: rows[0].seen_at > first.seen_at)
    assert await noted(system) == []


async def test_a_change_is_noted_at_once(system: System, channel: ConnectionlessChannel) -> None:
    """A provider that fails is noted at the next look, a second later, with its reason."""
    async with noting(system, channel):
        await system.until(lambda: noted(system), bool)
        await fail(system, channel, 1)
        system.clock.advance(1)
        _, broken = await system.until(lambda: noted(system), lambda rows: len(rows) == 2)
    assert (broken.provider, broken.state) == ("http://127.0.1.1:1", BreakerState.OPEN)
    assert broken.why


async def test_of_many_in_trouble_the_oldest_are_noted(
    system: System, channel: ConnectionlessChannel
) -> None:
    """Promise (room): devices name any number of providers; a hundred are noted, those first that
    have been in trouble for longest.
    """
    await fail(system, channel, *range(1, MOST))
    system.clock.advance(1)
    await fail(system, channel, 200)
    system.clock.advance(1)
    await fail(system, channel, MOST)
    async with noting(system, channel):
        rows = await system.until(lambda: noted(system), bool)
    expected = {f"http://127.0.1.{number}:1" for number in (*range(1, MOST), 200)}
    assert {row.provider for row in rows} == {"", *expected}


async def test_what_a_dead_worker_noted_is_forgotten_after_an_hour(
    system: System, channel: ConnectionlessChannel
) -> None:
    """Promise (room): a worker that was killed leaves its notes; another one drops them later."""
    left = ProviderHealth("webhook", "host/2", "", BreakerState.CLOSED, system.clock.now())
    async with system.installation.store.transaction() as tx:
        await tx.note_health("webhook", "host/2", [left], forget=system.clock.now())
    for minutes, stays in ((59, True), (2, False)):
        system.clock.advance(minutes * 60)
        async with noting(system, channel):
            await system.until(lambda: noted(system), bool)
            assert (await noted(system, worker="host/2") == [left]) == stays
