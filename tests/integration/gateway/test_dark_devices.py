"""RabbitMQ deletes a gateway's queue under its live consumer: devices are reached again.

Nodes that were apart leave such queues: no node has the queue any more, its consumer lives on, and
no one sends it a word. One node does the same when only the record of the queue is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from aoi_events.testing import AoiServer
from aoi_events.testing.containers import RabbitServer
from aoi_events.testing.ports import free_port
from aoi_events.topology import gateway_queue

pytestmark = pytest.mark.containers

SOON = 10.0
"""Seconds within which notifications flow again, without a person."""


@pytest.fixture
def aoi_settings() -> Mapping[str, Any]:
    """The server's health is served."""
    return {"health": {"enabled": True, "port": free_port()}}


def delete_record(server: RabbitServer, vhost: str, queue: str) -> None:
    """Delete a queue from RabbitMQ's metadata, and leave its process and consumer alone."""
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
    server.ctl("eval", f"rabbit_db_queue:delete({name}, normal).")


def delete_queue(server: RabbitServer, vhost: str, queue: str) -> None:
    """Delete a queue; RabbitMQ cancels its consumer (basic.cancel)."""
    server.ctl("delete_queue", "--vhost", vhost, queue)


async def until_ready(port: int, seen: list[tuple[int, Any]]) -> None:
    """Ask ``/readyz`` until it answers 200 after a 503."""
    async with aiohttp.ClientSession() as session:
        while [status for status, _ in seen][-2:] != [503, 200]:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                answer = response.status, await response.json()
            if not seen or seen[-1] != answer:
                seen.append(answer)


@pytest.mark.parametrize("delete,notified", [(delete_record, False), (delete_queue, True)])
async def test_devices_are_reached_again_after_their_gateways_queue_was_deleted(
    aoi_rabbitmq: AoiServer,
    aoi_rabbitmq_server: RabbitServer,
    delete: Callable[[RabbitServer, str, str], None],
    notified: bool,
) -> None:
    """Two devices get a notification within ten seconds; where no word came from RabbitMQ, the
    gateway is not ready until then, and says why.
    """
    installation = aoi_rabbitmq.installation
    phones = [
        await aoi_rabbitmq.device(name, apps=["org.mail"], sms=False) for name in ("one", "two")
    ]
    shop = await aoi_rabbitmq.publisher("shop")
    old = (await installation.gateway.health()).node
    vhost = urlsplit(installation.settings.broker.get_secret_value()).path.removeprefix("/")
    seen: list[tuple[int, Any]] = []
    port = installation.settings.health.port
    watching = None if notified else asyncio.create_task(until_ready(port, seen))
    await asyncio.to_thread(delete, aoi_rabbitmq_server, vhost, gateway_queue(old))
    async with asyncio.timeout(SOON):
        for phone in phones:
            await shop.send(phone.token, "hello")
        for phone in phones:
            assert (await phone.read()).content.data == "hello"
        if watching is not None:
            await watching
    assert (await installation.gateway.health()).node != old
    if watching is not None:
        failed = [body for status, body in seen if status == 503]
        assert all(body["checks"]["gateway_queue"] is False for body in failed)
        assert "no such queue" in failed[0]["notes"]["gateway_queue"]
        assert failed[0]["checks"]["workers"]
