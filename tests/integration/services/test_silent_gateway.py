"""A gateway's queue that goes silent, on the real broker and store."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from aoi_events.testing.containers import RabbitServer
from tests.integration.services.conftest import ACK_WITHIN, OpenSystem
from tests.support.limits import WITHIN
from tests.support.silent_queues import kill, silent


@pytest.mark.containers
@pytest.mark.parametrize("backend", ["rabbitmq+postgresql"], indirect=True)
async def test_one_silent_gateway_stops_no_other(
    open_system: OpenSystem, rabbit_server: RabbitServer
) -> None:
    """Senders are answered and devices of another gateway are served while one gateway's queue is
    silent; its devices get the next step at their deadline, or as soon as the queue is known to be
    gone, which ends their presence.
    """
    system = await open_system()
    name, shop = f"gw-{uuid4().hex}", await system.user()
    there, here = await system.node(name), await system.node("gw-1")
    far = await system.device("websocket", "scripted:a1")
    near = await system.device("websocket", identity="tel:+15550101")
    await there.connect(far)
    await here.connect(near)
    with silent(rabbit_server, f"aoi.gateway.{name}"):
        async with asyncio.timeout(WITHIN):
            for number in range(3):
                await shop.send(f"n{number}", far.token, near.token)
                assert (await here.next_delivery()).notification == f"n{number}"
        await system.advance(ACK_WITHIN)
        sent = {(await system.provider.next_delivery()).notification for _ in range(3)}
        assert sent == {"n0", "n1", "n2"}
        await shop.send("n3", far.token)
        await asyncio.to_thread(kill, rabbit_server, f"aoi.gateway.{name}")
        assert (await system.provider.next_delivery()).notification == "n3"
    async with system.installation.store.transaction(read_only=True) as tx:
        rows = await tx.clients([far.client, near.client])
    assert rows[far.client].presence is None
    assert rows[near.client].presence is not None
