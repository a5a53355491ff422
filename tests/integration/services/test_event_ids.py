"""A repeat of an event has the ID of the first, whoever died in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aoi_events.contracts.events import EVENT_KINDS, CloudEvent
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published
from aoi_events.services.deadlines.clients import UnusedClients
from aoi_events.services.deadlines.worker import DeadlinesWorker
from aoi_events.services.runtime.batch_worker import BatchWorker
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import secret_and_hash
from tests.support.system import System

MONTHS = 400 * 86_400.0


@pytest.fixture(autouse=True)
def _every_message_is_handled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each worker died after it had published everything and before it acknowledged, and the
    next one took the message a while later.
    """
    handle = BatchWorker._handle

    async def twice(
        self: BatchWorker[Any], items: Sequence[Any], messages: Sequence[Inbound]
    ) -> None:
        await handle(self, items, messages)
        self.clock.advance(0.25)  # type: ignore[attr-defined]
        again = [replace(message, redelivered=True) for message in messages]
        await handle(self, [self.handler.read(message) for message in again], again)

    monkeypatch.setattr(BatchWorker, "_handle", twice)


async def broker_of_a_doomed_worker(system: System, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker whose user dies when everything is published."""
    broker = await system.connect("aoi")
    publish = broker.publish

    async def publish_and_die(messages: Sequence[Outbound]) -> Sequence[Published]:
        await publish(messages)
        raise BrokerUnavailable("the worker died here")

    monkeypatch.setattr(broker, "publish", publish_and_die)
    return broker


async def dies(worker: DeadlinesWorker) -> bool:
    """Whether a worker died over rows that were due; else there were none."""
    try:
        return await worker.process_due() > 0
    except BrokerUnavailable:
        return True


@BOTH
async def test_a_repeat_keeps_its_id(
    open_system: OpenSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event of every kind comes twice, a while apart, and both have one ID and one content;
    no two events share an ID.
    """
    system = await open_system(plugin={"needs_proof": True})
    events = system.events
    shop, node = await system.user(), await system.node()

    device = await system.device("websocket", "scripted:a1")
    challenge = await system.provider.next_challenge()
    await device.ask("channel.confirm", channel="scripted", code=challenge.code)
    await node.connect(device)
    await shop.send("delivered", device.token)
    await node.acknowledge(await node.next_delivery())
    await events.wait_for("notification.delivered", count=2)
    await device.ask("channel.deactivate", sequence=device.next(), channels=[])
    await shop.send("expired", device.token, ttl=10)

    away = await system.device()
    await shop.send("replaced", away.token, topic="t")
    await shop.send("cancelled", away.token, topic="t")
    await shop.ask("notification.cancel", notification="cancelled")
    await shop.send("failed", away.token)
    await away.ask("application.deregister", application="org.mail", sequence=away.next())
    await events.wait_for("application.revoked", count=2, client=away.client)

    broker = await broker_of_a_doomed_worker(system, monkeypatch)
    found = system.installation
    doomed = DeadlinesWorker(found.store, broker, found.services, system.clock, system.dice)
    system.clock.advance(11)
    while await dies(doomed):
        pass
    await system.advance(6)

    await system.client("unused")
    for identity in (away.identity, "another"):
        secret, hashed = secret_and_hash()
        answer = await away.user.ask(
            "client.register",
            device="d",
            identity=identity,
            secret_hash=hashed,
            previous=away.proof,
        )
        away = replace(away, client=getattr(answer, "client", ""), secret=secret)
    await away.ask("client.deregister")

    policies = found.services.policies
    system.clock.advance(MONTHS)
    unused = UnusedClients(found.store, broker, policies, system.clock, batch=10)
    with pytest.raises(BrokerUnavailable):
        await unused.process_due()
    system.clock.advance(policies.hold + 1)
    await replace(unused, broker=found.broker).process_due()
    await events.wait_for("client.expired", count=2)

    async def with_an_id_of_its_own() -> list[CloudEvent]:
        times = Counter(event.id for _, event in events.seen)
        return [event for _, event in events.seen if times[event.id] == 1]

    try:
        await system.until(with_an_id_of_its_own, lambda found: not found)
    except TimeoutError:
        raise AssertionError(await with_an_id_of_its_own()) from None
    assert set(events.kinds()) == set(EVENT_KINDS)
    facts = [(event.id, (event.kind, event.subject, event.data)) for _, event in events.seen]
    assert [dict(facts)[id_] for id_, _ in facts] == [fact for _, fact in facts]
