"""Nodes and queues that go silent, without a word and without closing anything."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Outbound, Published
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import Queue, QueueKind, Topology
from tests.support.limits import WITHIN

OWN = Queue("silence.own", QueueKind.EXCLUSIVE)
WORK = Queue("silence.work")


@pytest.fixture(scope="session")
def rabbit_server(own_rabbit_server: RabbitServer) -> RabbitServer:
    """One that may be broken."""
    return own_rabbit_server


async def test_a_silent_node_is_noticed_within_two_heartbeats(
    rabbit_server: RabbitServer, rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that hangs closes no connection: after two heartbeats consumers know that their queue
    is lost, and when the node continues everything works again.
    """
    heartbeat, loop = 2, asyncio.get_running_loop()
    broker = await RabbitBroker.connect(rabbit_url, heartbeat=heartbeat)
    await broker.declare(Topology((), (WORK,)))
    own = await broker.subscribe(OWN, prefetch=1)
    node = rabbit_server.container.get_wrapped_container()
    await asyncio.to_thread(node.pause)
    paused_at = loop.time()
    try:
        with pytest.raises(BrokerUnavailable, match=OWN.name):
            async with asyncio.timeout(WITHIN):
                await own.take(1)
        # aiormq by itself takes three heartbeats of one second more each, and looks once in each.
        assert loop.time() - paused_at < 3 * heartbeat
    finally:
        await asyncio.to_thread(node.unpause)
    async with asyncio.timeout(WITHIN):
        await broker.connected()
    assert list(await broker.publish([Outbound("", WORK.name, b"x")])) == [Published.CONFIRMED]
    silent = [each for each in caplog.records if each.getMessage() == "broker_silent"]
    assert {each.levelno for each in silent} == {logging.WARNING}
    await broker.close()
