"""What becomes of messages that the broker does not take."""

from __future__ import annotations

import logging

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.topology import EVENTS, topology
from aoi_events.contracts.events import NOBODY, ClientChanged
from aoi_events.errors import PublishRefused
from aoi_events.ports.broker import Binding, Outbound, Queue, Topology
from aoi_events.services.outgoing import event, publish_all
from tests.strategies import EPOCH

FULL = Queue("aoi.reply.shop.full", bindings=(Binding(EVENTS),), max_length_bytes=1)


async def test_facts_that_a_full_queue_refuses_are_counted_and_hold_nothing_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Section 3: a nack from somebody's full queue is said, once for a batch with how many; what
    must not be lost still raises.
    """
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    await broker.declare(Topology((), (FULL,)))
    gone = ClientChanged(client="cli_" + "a" * 26)
    facts = [event("client.expired", NOBODY, gone, at=EPOCH, key=f"{n}@") for n in range(3)]
    with caplog.at_level(logging.INFO):
        await publish_all(broker, facts[:1])
        assert caplog.records == []
        await publish_all(broker, facts)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("not_taken", "WARNING")
    assert record.__dict__["messages"] == 3
    assert record.__dict__["of"] == {"aoi.client.expired.v1": 3}
    with pytest.raises(PublishRefused, match="is it full"):
        await publish_all(broker, [Outbound("", FULL.name, b"needed")])
    await broker.close()
