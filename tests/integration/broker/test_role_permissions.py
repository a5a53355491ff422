"""The permissions that compose/ gives each role, on a real broker: enough, and no more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.contracts.senders import SENDER_REQUESTS
from aoi_events.errors import PublishRefused
from aoi_events.ports.broker import Outbound, Published
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import (
    NOTIFICATION,
    OUTCOME,
    OUTCOMES,
    PROBES,
    QUARANTINES,
    REQUESTS,
    node_queue,
    quarantine_of,
    topology,
    worker_queue,
)
from tests.support.limits import WITHIN

DEFINED: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "compose" / "broker" / "definitions.json").read_text()
)
SMS = quarantine_of("aoi.delivery.sms")


async def as_role(server: RabbitServer, vhost: str, user: str) -> RabbitBroker:
    """A connection of that role, with the permissions that it has in compose/."""
    url = server.add_user(vhost, user)
    for part in ("permissions", "topic_permissions"):
        for row in DEFINED[part]:
            if row["user"] == user:
                given = {key: row[key] for key in row.keys() - {"user", "vhost"}}
                server.api("PUT", f"/{part.replace('_', '-')}/{vhost}/{user}", given)
    return await RabbitBroker.connect(url)


@pytest.mark.parametrize("user", ["aoi-gateway", "aoi-sms"])
async def test_who_reports_outcomes_writes_into_no_queue(
    rabbit_server: RabbitServer, rabbit_vhost: str, user: str
) -> None:
    """At the broker each role may only do what it does: outcomes arrive through their exchange, and
    what would go into a queue by its name, its own one too, is refused.
    """
    setup = await as_role(rabbit_server, rabbit_vhost, "aoi-setup")
    await setup.declare(topology(["sms"]))
    broker = await as_role(rabbit_server, rabbit_vhost, user)
    try:
        assert await broker.publish([Outbound(OUTCOMES, OUTCOME, b"{}")]) == [Published.CONFIRMED]
        for queue in (OUTCOME, "aoi.notification", "aoi.delivery.sms"):
            with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
                await broker.publish([Outbound("", queue, b"{}")])
        with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
            await broker.publish([Outbound(QUARANTINES, quarantine_of(OUTCOME), b"{}")])
        if user == "aoi-sms":
            moved = await broker.publish([Outbound(QUARANTINES, SMS, b"{}")])
            assert moved == [Published.CONFIRMED]
    finally:
        await broker.close()
        await setup.close()


async def test_a_gateway_probes_its_own_queue(
    rabbit_server: RabbitServer, rabbit_vhost: str
) -> None:
    """Its probes arrive through their exchange, marked as such; no other role may publish there."""
    setup = await as_role(rabbit_server, rabbit_vhost, "aoi-setup")
    await setup.declare(topology(["sms"]))
    gateway = await as_role(rabbit_server, rabbit_vhost, "aoi-gateway")
    other = await as_role(rabbit_server, rabbit_vhost, "aoi-sms")
    queue = node_queue("gw-1")
    probe = Outbound(PROBES, queue.name, b"1", persistent=False)
    try:
        taking = await gateway.subscribe(queue, prefetch=9)
        assert list(await gateway.publish([probe])) == [Published.CONFIRMED]
        async with asyncio.timeout(WITHIN):
            (message,) = await taking.take(1)
        assert (message.exchange, message.body) == (PROBES, b"1")
        gone = Outbound(PROBES, node_queue("gw-2").name, b"1", persistent=False)
        assert list(await gateway.publish([gone])) == [Published.RETURNED]
        for broker, refused in (
            (other, probe),
            (gateway, Outbound("", queue.name, b"1")),
            (gateway, Outbound(PROBES, OUTCOME, b"1")),
        ):
            with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
                await broker.publish([refused])
    finally:
        for broker in (gateway, other, setup):
            await broker.close()


async def test_an_endpoint_asks_about_notifications_only(
    rabbit_server: RabbitServer, rabbit_vhost: str
) -> None:
    """It publishes three requests and reads the answers; whatever else there is, is refused."""
    setup = await as_role(rabbit_server, rabbit_vhost, "aoi-setup")
    await setup.declare(topology(["sms"]))
    worker = await as_role(rabbit_server, rabbit_vhost, "aoi-notification")
    broker = await as_role(rabbit_server, rabbit_vhost, "aoi-endpoint")
    try:
        requester = await broker.requester()
        taking = await worker.subscribe(worker_queue(NOTIFICATION)[0], prefetch=9)
        for key in SENDER_REQUESTS:
            asking = asyncio.ensure_future(
                requester.call(Outbound(REQUESTS, key, b"{}"), timeout=WITHIN)
            )
            (message,) = await taking.take(1)
            await worker.publish(
                [
                    Outbound(
                        "",
                        message.reply_to or "",
                        b"yes",
                        mandatory=False,
                        correlation_id=message.correlation_id,
                    )
                ]
            )
            await taking.ack([message])
            assert (message.user_id, (await asking).body) == ("aoi-endpoint", b"yes")
        await requester.close()
        for exchange, key in (
            (REQUESTS, "client.register"),
            (REQUESTS, "client.connected"),
            (OUTCOMES, OUTCOME),
            ("", NOTIFICATION),
        ):
            with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
                await broker.publish([Outbound(exchange, key, b"{}")])
    finally:
        await broker.close()
        await worker.close()
        await setup.close()
