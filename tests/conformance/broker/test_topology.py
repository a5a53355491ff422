from __future__ import annotations

import pytest

from aoi_events import topology as names
from aoi_events.errors import ConfigurationError
from aoi_events.ports.broker import Broker, Outbound
from aoi_events.topology import Binding, Exchange, ExchangeType, Queue
from tests.conformance.broker.conftest import Installation
from tests.conformance.broker.messages import WORK, bodies, declare, take
from tests.support.failed_deliveries import fail_deliveries

ROUTES = [
    ("client.register", names.REGISTRATION),
    ("client.deregister", names.REGISTRATION),
    ("application.register", names.REGISTRATION),
    ("application.deregister", names.REGISTRATION),
    ("channel.activate", names.ACTIVATION),
    ("channel.confirm", names.ACTIVATION),
    ("channel.deactivate", names.ACTIVATION),
    ("client.connected", names.ACTIVATION),
    ("client.present", names.ACTIVATION),
    ("client.disconnected", names.ACTIVATION),
    ("notification.send", names.NOTIFICATION),
    ("notification.cancel", names.NOTIFICATION),
    ("notification.fetch", names.NOTIFICATION),
    ("client.promote", names.UNROUTABLE),
    ("", names.UNROUTABLE),
]


async def test_every_request_has_its_queue(broker: Broker) -> None:
    """Each routing key reaches its worker; any other, the unroutable one."""
    await broker.declare(names.topology(["sms"]))
    await broker.publish([Outbound(names.REQUESTS, key, key.encode()) for key, _ in ROUTES])
    for queue in dict.fromkeys(queue for _, queue in ROUTES):
        expected = [key for key, wanted in ROUTES if wanted == queue]
        subscription = await broker.subscribe(Queue(queue), prefetch=20)
        assert await bodies(subscription, len(expected)) == expected


async def test_every_worker_queue_has_a_quarantine_and_a_limit(
    installation: Installation, broker: Broker
) -> None:
    """What fails too often leaves a quarantine for the dead, within its own smaller limit."""
    await broker.declare(names.topology(["sms", "webpush"]))
    for worker in (names.OUTCOME, names.delivery_queue("sms"), names.delivery_queue("webpush")):
        quarantine = names.quarantine_of(worker)
        await broker.publish([Outbound("", worker, b""), Outbound("", quarantine, b"poison")])
        limit = names.QUARANTINE_DELIVERY_LIMIT
        (last,) = await fail_deliveries(installation.connect, Queue(quarantine), limit + 1)
        assert last.delivery_count == limit
        dead = await broker.subscribe(Queue(names.DEAD), prefetch=1)
        (message,) = await take(dead, 1)
        assert message.headers["x-first-death-queue"] == quarantine
        await dead.ack([message])
        await dead.stop()


async def test_hints_reach_every_deadlines_worker(broker: Broker) -> None:
    """A hint is copied to each worker that listens."""
    await broker.declare(names.topology())
    listening = [
        await broker.subscribe(names.hints_queue(node), prefetch=5) for node in ("one", "two")
    ]
    await broker.publish([Outbound(names.HINTS, "", b"due", mandatory=False, persistent=False)])
    assert [await bodies(each, 1) for each in listening] == [["due"], ["due"]]


async def test_declaring_again_changes_nothing(broker: Broker) -> None:
    """The same declaration, again and with more beside it, keeps what is in the queues."""
    await broker.declare(names.topology())
    await broker.publish([Outbound("", names.OUTCOME, b"kept")])
    await broker.declare(names.topology())
    await broker.declare(names.topology(["sms"]))
    assert await bodies(await broker.subscribe(Queue(names.OUTCOME), prefetch=5), 1) == ["kept"]


async def test_a_changed_declaration_is_refused(broker: Broker) -> None:
    """A queue or exchange cannot change its arguments under the same name; nothing breaks."""
    await declare(broker, WORK, exchanges=[Exchange("topics")])
    with pytest.raises(ConfigurationError, match="work"):
        await declare(broker, Queue("work", delivery_limit=7))
    with pytest.raises(ConfigurationError, match="topics"):
        await declare(broker, exchanges=[Exchange("topics", ExchangeType.FANOUT)])
    await broker.publish([Outbound("", "work", b"still")])
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 1) == ["still"]


async def test_bindings_can_be_added(broker: Broker) -> None:
    """A queue keeps its bindings and gets those that a later declaration adds."""
    await declare(broker, Queue("work", bindings=(Binding("t", "a"),)), exchanges=[Exchange("t")])
    await declare(broker, Queue("work", bindings=(Binding("t", "b"),)))
    await broker.publish([Outbound("t", "a", b"a"), Outbound("t", "b", b"b")])
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 2) == ["a", "b"]


async def test_consuming_an_unknown_queue_is_a_configuration_error(broker: Broker) -> None:
    """The error says which queue, and the connection goes on."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        await broker.subscribe(Queue("nowhere"), prefetch=5)
    await declare(broker, WORK)
    await broker.publish([Outbound("", "work", b"on")])
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 1) == ["on"]
