"""What a whole AOI Server counts of what goes through it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import cast

import pytest

from aoi_events.broker.memory import MemoryBroker
from aoi_events.errors import RequestRefused
from aoi_events.ports.broker import Outbound
from aoi_events.ports.metrics import Change
from aoi_events.testing import AoiServer, FakeDevice
from tests.support import counts
from tests.support.limits import WITHIN

MAIL = "org.example.mail"
NUMBER = 10


async def counted(aoi: AoiServer, number: float, name: str, **labels: str) -> None:
    """See :func:`tests.support.counts.counted`."""
    await counts.counted(aoi.installation.metrics, number, name, **labels)


def value(aoi: AoiServer, name: str, **labels: str) -> float:
    """See :func:`tests.support.counts.value`."""
    return counts.value(aoi.installation.metrics, name, **labels)


async def at_least(aoi: AoiServer, number: float, name: str, **labels: str) -> None:
    """Wait until the value is at least that."""
    await aoi.wait_for(lambda: value(aoi, name, **labels) >= number)


async def delivered(aoi: AoiServer, phone: FakeDevice) -> None:
    """One notification over the WebSocket, another one by SMS."""
    shop = await aoi.publisher()
    await shop.send(phone.token, "one", notification="n1")
    assert (await phone.read()).channel == "websocket"
    await aoi.wait_for.state("n1", "delivered")
    phone.cut()
    await shop.send(phone.token, "two", notification="n2")
    assert (await phone.read()).channel == "sms"
    await aoi.wait_for.state("n2", "delivered")


async def each_hop(aoi: AoiServer) -> None:
    """Accepted, submitted, delivered with its channel, timed, and every part on the way."""
    phone = await aoi.device("phone", apps=[MAIL])
    await delivered(aoi, phone)
    for channel, by in (("websocket", "device"), ("sms", "provider")):
        settled = {"state": "delivered", "channel": channel, "by": by, "reason": "none"}
        await counted(aoi, 1, "aoi_deliveries_settled_total", **settled)
        await counted(aoi, 1, "aoi_delivery_delivered_seconds_count", channel=channel)
    await counted(aoi, 2, "aoi_deliveries_settled_total")
    await counted(aoi, 2, "aoi_deliveries_accepted_total")
    await counted(aoi, 2, "aoi_delivery_first_step_seconds_count")
    # The challenge that proved the number, and the second notification.
    await counted(aoi, 2, "aoi_submissions_total", channel="sms", result="accepted")
    await counted(aoi, 2, "aoi_receipts_total", channel="sms", result="exact")
    await aoi.wait_for(lambda: value(aoi, "aoi_submission_window_in_use", channel="sms") == 0)
    await counted(aoi, 1, "aoi_outcomes_total", kind="acknowledged", channel="websocket")
    await counted(aoi, 1, "aoi_outcomes_total", kind="accepted", channel="sms")
    await counted(aoi, 2, "aoi_requests_total", request="notification.send", code="ok")
    await counted(aoi, 1, "aoi_requests_total", request="client.register", code="ok")
    for queue in ("aoi.registration", "aoi.notification", "aoi.outcome", "aoi.gateway"):
        await at_least(aoi, 1, "aoi_batch_messages_sum", queue=queue)
        await at_least(aoi, 1, "aoi_queue_wait_seconds_count", queue=queue)
        waits = value(aoi, "aoi_queue_wait_seconds_count", queue=queue)
        assert value(aoi, "aoi_queue_wait_seconds_sum", queue=queue) < waits * WITHIN
    await at_least(aoi, 3, "aoi_gateway_frames_total", direction="received")
    await at_least(aoi, 3, "aoi_gateway_frames_total", direction="sent")
    await at_least(aoi, 1, "aoi_store_transaction_seconds_count", mode="write")
    await at_least(aoi, 1, "aoi_broker_publishes_total", result="confirmed")
    await at_least(aoi, 1, "aoi_gateway_closes_total")
    assert value(aoi, "aoi_broker_publishes_total", result="uncertain") == 0


async def test_each_hop_is_counted_on_memory(aoi: AoiServer) -> None:
    """A notification over each channel is counted by everything that it went through."""
    await each_hop(aoi)


async def test_each_hop_is_counted_on_rabbitmq(aoi_rabbitmq: AoiServer) -> None:
    """The same on the real parts."""
    await each_hop(aoi_rabbitmq)


async def test_levels_of_the_gateway(aoi: AoiServer) -> None:
    """Connections and sessions are those of the moment, and a close is counted with its code."""
    phone = await aoi.device("phone", sms=False)
    other = await aoi.device("other", sms=False)
    await counted(aoi, 2, "aoi_gateway_connections")
    await counted(aoi, 2, "aoi_gateway_sessions")
    await phone.switch_off()
    await aoi.wait_for(lambda: value(aoi, "aoi_gateway_connections") == 1)
    await counted(aoi, 1, "aoi_gateway_sessions")
    await counted(aoi, 1, "aoi_gateway_closes_total", by="device")
    assert other.client.client_id


async def test_refused_and_parked(aoi: AoiServer) -> None:
    """A refusal counts under its code, an unknown request under no name of its own."""
    shop = await aoi.publisher()
    with pytest.raises(RequestRefused):
        await shop.status("never-sent")
    not_found = {"request": "notification.status", "code": "not_found"}
    await counted(aoi, 1, "aoi_requests_total", **not_found)
    unknown = Outbound("aoi.requests", "no.such.request", b"{}")
    broken = Outbound("aoi.requests", "notification.send", b"{")
    await aoi.installation.broker.publish([unknown, broken])
    await aoi.wait_for(lambda: value(aoi, "aoi_parked_messages_total") == 2)
    for queue, code in (("aoi.unroutable", "unknown_request"), ("aoi.notification", "malformed")):
        await counted(aoi, 1, "aoi_parked_messages_total", queue=queue, code=code)


async def test_deadlines_and_their_lag(aoi: AoiServer) -> None:
    """What expires is looked at by the deadlines worker, soon after its time."""
    phone = await aoi.device("phone", apps=[MAIL], sms=False)
    await phone.switch_off()
    shop = await aoi.publisher()
    await shop.send(phone.token, "late", notification="n1", ttl=60)
    # By way of the WebSocket where the server did not know yet that the device had gone.
    await aoi.wait_for.state("n1", "stored")
    await counted(aoi, 1, "aoi_deliveries_stored_total")
    aoi.advance(61)
    await aoi.wait_for.state("n1", "expired")
    await counted(aoi, 1, "aoi_deliveries_settled_total", state="expired", by="none")
    await at_least(aoi, 1, "aoi_deadlines_due_total", kind="delivery")
    await at_least(aoi, 1, "aoi_deadlines_lag_seconds_count")


@pytest.mark.aoi_settings(channels={"websocket": {"ack_within": 600.0}})
async def test_each_delivery_is_counted_once_over_lost_connections(
    aoi: AoiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers' connection is cut after every other commit, before its messages are published:
    they come again, are handled again, and every delivery is accepted once and ends once.
    """
    phone = await aoi.device("phone", apps=[MAIL], sms=False)
    shop = await aoi.publisher()
    broker, metrics = cast(MemoryBroker, aoi.installation.broker), aoi.installation.metrics
    tell, told = metrics.deliveries, count(1)

    def tell_and_cut(changes: Iterable[Change]) -> None:
        tell(changes)
        if next(told) % 2:
            broker.server.drop_connection(broker.user)

    monkeypatch.setattr(metrics, "deliveries", tell_and_cut)
    for number in range(NUMBER):
        await shop.send(phone.token, "x", notification=f"n{number}", retries=9)
    for number in range(NUMBER):
        await aoi.wait_for.state(f"n{number}", "delivered")
    await at_least(aoi, NUMBER, "aoi_broker_reconnections_total")
    await at_least(aoi, NUMBER + 1, "aoi_batch_messages_sum", queue="aoi.notification")
    await counted(aoi, NUMBER, "aoi_deliveries_accepted_total")
    ended = "aoi_deliveries_settled_total"
    await counted(aoi, NUMBER, ended, state="delivered")
    await counted(aoi, NUMBER, ended)
    await counted(aoi, NUMBER, "aoi_delivery_delivered_seconds_count")
