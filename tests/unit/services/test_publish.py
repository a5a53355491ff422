"""What becomes of messages that the broker does not take."""

from __future__ import annotations

import logging

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.events import NOBODY, ClientChanged
from aoi_events.errors import PublishRefused
from aoi_events.ports.broker import Assurance, Outbound
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.publish import publish_all
from aoi_events.topology import EVENTS, HINTS, Binding, Queue, Topology, gateway_queue, topology
from tests.support.strategies import EPOCH

FULL = Queue("aoi.reply.shop.full", bindings=(Binding(EVENTS),), max_length_bytes=1)
OPEN = Queue("aoi.reply.shop.open")


async def test_facts_that_a_full_queue_refuses_are_counted_and_hold_nothing_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A nack from a full queue is logged, with the number of its batch, and once a minute; a
    message that must not be lost still raises.
    """
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    await broker.declare(Topology((), (FULL,)))
    gone = ClientChanged(client="cli_" + "a" * 26)
    facts = [event("client.expired", NOBODY, gone, at=EPOCH, key=f"{n}@") for n in range(3)]
    with caplog.at_level(logging.INFO):
        await publish_all(broker, facts[:1])
        assert caplog.records == []
        for _ in range(3):
            await publish_all(broker, facts)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("not_taken", "WARNING")
    assert record.__dict__["messages"] == 3
    assert record.__dict__["of"] == {"aoi.client.expired.v1": 3}
    with pytest.raises(PublishRefused, match="a queue is full"):
        await publish_all(broker, [Outbound("", FULL.name, b"needed")])
    await broker.close()


async def test_a_refusal_blames_what_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Hints and answers are not said to be events; the queue of a gateway is gone, not full; one
    that does not exist is named so.
    """
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    hints = Queue("hints", bindings=(Binding(HINTS),), max_length_bytes=1)
    await broker.declare(Topology((), (FULL, hints)))
    answer = Outbound("", FULL.name, b"answer", assurance=Assurance.BEST_EFFORT)
    await broker.publish([hint(), answer])
    await publish_all(broker, [hint(), answer])
    said = {vars(each)["exchange"]: vars(each)["hint"] for each in caplog.records}
    assert "deadlines worker" in said[HINTS]
    assert "who asked" in said[""]
    gateway = Outbound("", gateway_queue("gw-1"), b"x")
    with pytest.raises(PublishRefused, match=r"its gateway, or the node .* went away"):
        await publish_all(broker, [gateway])
    with pytest.raises(PublishRefused, match="there is no such queue"):
        await publish_all(broker, [Outbound("", "aoi.reply.shop.none", b"x")])
    await broker.close()


@pytest.mark.parametrize("assurance", Assurance)
@pytest.mark.parametrize(
    "queue, if_returned, raises",
    [
        ("aoi.reply.shop.full", None, True),
        ("aoi.reply.shop.none", None, True),
        ("aoi.reply.shop.none", "aoi.reply.shop.open", False),
        ("aoi.reply.shop.none", "aoi.reply.shop.full", True),
        ("aoi.reply.shop.none", "aoi.reply.shop.none", True),
        ("aoi.reply.shop.open", None, False),
    ],
)
async def test_what_must_not_be_lost_raises_when_no_queue_took_it(
    queue: str, if_returned: str | None, *, raises: bool, assurance: Assurance
) -> None:
    """A nack and a return raise alike, but where a substitute was taken in its place, or where the
    message may be lost; the messages beside it are published all the same.
    """
    broker = MemoryBroker(MemoryServer())
    await broker.declare(topology())
    await broker.declare(Topology((), (FULL, OPEN)))
    await broker.publish([Outbound("", FULL.name, b"as much as it takes")])
    substitute = None if if_returned is None else Outbound("", if_returned, b"substitute")
    message = Outbound("", queue, b"x", if_returned=substitute, assurance=assurance)
    beside = Outbound("", OPEN.name, b"beside")
    if raises and assurance is not Assurance.BEST_EFFORT:
        with pytest.raises(PublishRefused, match=queue):
            await publish_all(broker, [beside, message, beside])
    else:
        await publish_all(broker, [beside, message, beside])
    taken = 2 + (OPEN.name in (queue, if_returned))
    assert broker.server.waiting(OPEN.name) == taken
    await broker.close()
