"""Messages past their delivery limit: parked, answered and replayed."""

from __future__ import annotations

import json
from functools import partial

import pytest

from aoi_events.contracts.answers import RefusedV1
from aoi_events.ports.broker import Outbound
from aoi_events.services.messages.quarantine import to_quarantine, unwrap
from aoi_events.services.runtime.parking import replay
from aoi_events.topology import (
    NOTIFICATION,
    QUARANTINE_DELIVERY_LIMIT,
    REGISTRATION,
    WORKER_DELIVERY_LIMIT,
    delivery_queue,
    worker_queue,
)
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.integration.services.crashes import Replies, handler, system_without
from tests.support.failed_deliveries import fail_deliveries
from tests.support.limits import WITHIN
from tests.support.system import System


@BOTH
@pytest.mark.parametrize("quarantined", [False, True])
async def test_a_dead_letter_is_parked_answered_and_replayed(
    open_system: OpenSystem, *, quarantined: bool
) -> None:
    """Past the delivery limit it arrives in ``aoi.dead`` and is parked under the queue it died in;
    its sender gets an answer; a replay goes through quarantine, from the same sender, with the same
    business IDs, and the parked row is deleted.
    """
    system = await system_without(open_system, "notification")
    shop = await system.user()
    replies = await Replies.of(shop)
    device = await system.device("scripted:a1")
    body = {"notification": "n1", "tokens": [device.token], "content": {"data": "x"}}
    await replies.ask("notification.send", **body)
    main, quarantine = worker_queue(NOTIFICATION)
    broker = await system.connect("aoi")
    limit, queue = WORKER_DELIVERY_LIMIT, main
    if quarantined:
        source = await broker.subscribe(main, prefetch=1)
        (message,) = await source.take(1)
        await broker.publish([to_quarantine(message, quarantine.name)])
        await source.ack([message])
        await source.stop()
        limit, queue = QUARANTINE_DELIVERY_LIMIT, quarantine
    await broker.close()
    await fail_deliveries(partial(system.connect, "aoi"), queue, limit + 1)

    refused = await replies.next()
    assert isinstance(refused, RefusedV1)
    assert refused.code == "internal"
    (parked,) = await system.parked()
    assert (parked.queue, parked.sender) == (NOTIFICATION, "shop")
    assert parked.routing_key == "notification.send"

    found = system.installation
    await system.serve("notification")
    done = await replay(found.store, found.broker, [parked.id, "prk_unknown"], within=WITHIN)
    assert (done.done, list(done.kept)) == ((parked.id,), ["prk_unknown"])
    item = await system.provider.next_delivery()
    assert item.notification == "n1"
    (delivery,) = await shop.status("n1")
    assert delivery.delivery == item.delivery
    assert await system.parked() == []


async def test_a_dead_envelope_fails_its_steps(open_system: OpenSystem) -> None:
    """A parked step fails that step only; the delivery goes on."""
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    queue = worker_queue(delivery_queue("scripted"))[0]
    await fail_deliveries(partial(system.connect, "aoi"), queue, WORKER_DELIVERY_LIMIT + 1)
    stored = await system.events.wait_for("notification.stored", notification="n1")
    assert stored.data.reason == "parked"  # type: ignore[union-attr]


async def test_what_was_redacted_cannot_be_replayed(system: System) -> None:
    """Promise: what was redacted or truncated cannot be replayed, and says so; it stays parked."""
    device = await system.client()
    await device.refused("application.register", application="a b", sequence=1)
    (parked,) = await system.parked()
    found = system.installation
    done = await replay(found.store, found.broker, [parked.id], within=WITHIN)
    assert (done.done, done.kept) == ((), {parked.id: "a secret was redacted"})
    assert len(await system.parked()) == 1


async def test_a_replayed_session_request_keeps_its_session(open_system: OpenSystem) -> None:
    """What a gateway asked for a session is still that session's when it is replayed."""
    system = await system_without(open_system, "registration")
    node = await system.node()
    body = {"version": 1, "client": "cli_" + "a" * 26, "application": "x", "sequence": 1}
    headers = {"aoi-client": "cli_" + "a" * 26}
    request = Outbound(
        "aoi.requests",
        "application.register",
        json.dumps(body).encode(),
        reply_to="aoi.reply.aoi-gateway.none",
        headers=headers,
    )
    await node.user.broker.publish([request])
    broker = await system.connect("aoi")
    main, quarantine = worker_queue(REGISTRATION)
    await fail_deliveries(partial(system.connect, "aoi"), main, WORKER_DELIVERY_LIMIT + 1)
    (parked,) = await system.until(system.parked, lambda rows: len(rows) == 1)
    found = system.installation
    await replay(found.store, found.broker, [parked.id], within=0.0)
    held = await broker.subscribe(quarantine, prefetch=1)
    (message,) = await held.take(1)
    asked = handler(system, "registration").read(unwrap(message, {"aoi"}))
    assert (asked.sender, asked.session) == ("aoi-gateway", "cli_" + "a" * 26)
    await broker.close()
