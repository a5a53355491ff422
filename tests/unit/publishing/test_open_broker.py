from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

import aoi_events
from aoi_events.broker.memory import NOT_DURABLE
from aoi_events.broker.open import memory_server, open_broker
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.ports.broker import Outbound
from aoi_events.topology import NOTIFICATION, topology


async def test_memory_urls_of_one_name_meet() -> None:
    """Two connections to one name share a server, under the users that their URLs say."""
    worker, shop = await open_broker("memory://demo"), await open_broker("memory://shop@demo")
    await worker.declare(topology())
    await shop.publish([Outbound("aoi.requests", "notification.send", b"{}")])
    assert (worker.user, shop.user) == ("aoi", "shop")
    assert memory_server("demo").waiting(NOTIFICATION) == 1
    assert memory_server("other") is not memory_server("demo")


def test_a_memory_server_ends_with_its_event_loop() -> None:
    """Nothing of an in-process server is found again in another event loop."""

    async def server() -> object:
        return memory_server("demo")

    assert asyncio.run(server()) is not asyncio.run(server())


async def test_the_memory_broker_says_what_it_does_not_promise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever starts on memory:// is warned, once."""
    with caplog.at_level(logging.WARNING):
        memory_server("warned")
        memory_server("warned")
    assert [record.message for record in caplog.records] == [NOT_DURABLE]


@pytest.mark.parametrize("url", ["", "kafka://u:hush@h", "http://u:hush@h", "amqp://[u:hush@h"])
async def test_other_urls_are_refused_without_their_passwords(url: str) -> None:
    """A URL that is no broker's says which are, and repeats no secret."""
    with pytest.raises(ConfigurationError, match="memory://") as refused:
        await open_broker(url)
    assert "hush" not in str(refused.value)


def test_public_names_are_there_and_load_late() -> None:
    """Every public name of the package can be had, and importing it loads none of them."""
    for name in aoi_events.__all__:
        assert getattr(aoi_events, name) is not None
        assert name in dir(aoi_events)
    with pytest.raises(AttributeError):
        _ = aoi_events.nothing
    assert aoi_events.BrokerUnavailable is BrokerUnavailable
    code = "import sys, aoi_events.errors; print(sorted(m for m in sys.modules if 'pika' in m))"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter, our own line
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
