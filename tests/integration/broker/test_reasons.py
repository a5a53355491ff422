"""An error says why the broker did not confirm, where it is known."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Outbound
from tests.acceptance.daemon.cutting_proxy import CuttingProxy
from tests.support.limits import WITHIN


async def test_a_broker_that_is_silent_is_not_short_of_memory(rabbit_url: str) -> None:
    """An alarm is named only where the broker said that it blocks publishers."""
    user, _, rest = rabbit_url.partition("@")
    host, _, vhost = rest.partition("/")
    proxy = await CuttingProxy(f"amqp://{host}").start()
    there = proxy.url().removeprefix("ws://").partition("/")[0]
    broker = await RabbitBroker.connect(f"{user}@{there}/{vhost}", publish_within=1.0)
    proxy.swallow()
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable, match=r"within 1 s; it is silent, or a queue") as why:
            await broker.publish([Outbound("", "nowhere", b"x")])
    assert "memory" not in str(why.value)
    proxy.restore()
    await broker.close()
    await proxy.stop()
