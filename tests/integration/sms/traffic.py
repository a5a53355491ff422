"""What tests of an SMSC in trouble send, and how they see what became of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aoi_events import Publisher
from aoi_events.oma_push.payload import ContentPush
from aoi_events.testing import AoiServer, LoopbackSmsc
from aoi_events.testing.diary import DidNotHappen
from tests.integration.sms.handset import Handset
from tests.support.limits import WITHIN
from tests.support.pushes import payloads_of


async def send(shop: Publisher, handset: Handset, count: int) -> list[str]:
    """Several notifications; their names."""
    names = [f"n{number}" for number in range(count)]
    for name in names:
        await shop.send(handset.token, name, notification=name)
    return names


async def all_delivered(server: AoiServer, names: list[str]) -> None:
    """Every one of them ends as delivered."""
    for name in names:
        await server.wait_for("notification.delivered", notification=name, within=WITHIN)


async def all_delivered_in_time(server: AoiServer, names: list[str]) -> None:
    """Every one of them ends as delivered, while time goes by faster than a test waits."""
    for name in names:
        async with asyncio.timeout(WITHIN):
            while not await _delivered(server, name):
                server.advance(30)


async def _delivered(server: AoiServer, name: str) -> bool:
    try:
        await server.wait_for("notification.delivered", notification=name, within=0.5)
    except DidNotHappen:
        return False
    return True


def contents(smsc: LoopbackSmsc) -> Counter[str]:
    """What the SMSC was handed, and how often."""
    pushes = payloads_of((each.number, each.user_data) for each in smsc.submissions)
    return Counter(push.content.data for push in pushes if isinstance(push, ContentPush))


async def message(handset: Handset) -> str:
    """The content of the next short message."""
    payload = await handset.read()
    assert isinstance(payload, ContentPush)
    return payload.content.data


@asynccontextmanager
async def a_second_worker(server: AoiServer) -> AsyncIterator[None]:
    """One more copy of the SMS worker, which drains at the end."""
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(server.installation.worker("sms")(stop, started))
    try:
        async with asyncio.timeout(WITHIN):
            await started.wait()
        yield
    finally:
        stop.set()
        await running
