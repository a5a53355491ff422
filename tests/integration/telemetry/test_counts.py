"""What a whole AOI Server counts of what goes through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aoi_events.broker.memory import MemoryBroker
from aoi_events.errors import RequestRefused
from aoi_events.ports.broker import Outbound
from aoi_events.ports.metrics import Change
from aoi_events.testing import AoiServer, FakeDevice

MAIL = "org.example.mail"
NUMBER = 10


def samples(aoi: AoiServer, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Labels and values of one name, as a scraper finds them."""
    text, _ = aoi.installation.metrics.exposition("")
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name:
                yield sample.labels, sample.value


def value(aoi: AoiServer, name: str, **labels: str) -> float:
    """The sum of what has at least these labels."""
    return sum(number for found, number in samples(aoi, name) if labels.items() <= found.items())


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
        assert value(aoi, "aoi_deliveries_settled_total", **settled) == 1
        assert value(aoi, "aoi_delivery_delivered_seconds_count", channel=channel) == 1
    assert value(aoi, "aoi_deliveries_settled_total") == 2
    assert value(aoi, "aoi_deliveries_accepted_total") == 2
    assert value(aoi, "aoi_delivery_first_step_seconds_count") == 2
    # The challenge that proved the number, and the second notification.
    assert value(aoi, "aoi_submissions_total", channel="sms", result="accepted") == 2
    assert value(aoi, "aoi_submission_window_in_use", channel="sms") == 0
    assert value(aoi, "aoi_outcomes_total", kind="acknowledged", channel="websocket") == 1
    assert value(aoi, "aoi_outcomes_total", kind="accepted", channel="sms") == 1
    assert value(aoi, "aoi_requests_total", request="notification.send", code="ok") == 2
    assert value(aoi, "aoi_requests_total", request="client.register", code="ok") == 1
    for queue in ("aoi.registration", "aoi.notification", "aoi.outcome", "aoi.gateway"):
        assert value(aoi, "aoi_batch_messages_sum", queue=queue) >= 1
        assert value(aoi, "aoi_queue_wait_seconds_count", queue=queue) >= 1
        assert value(aoi, "aoi_queue_wait_seconds_sum", queue=queue) < 60
    assert value(aoi, "aoi_gateway_frames_total", direction="received") >= 3
    assert value(aoi, "aoi_gateway_frames_total", direction="sent") >= 3
    assert value(aoi, "aoi_store_transaction_seconds_count", mode="write") > 0
    assert value(aoi, "aoi_broker_publishes_total", result="confirmed") > 0
    assert value(aoi, "aoi_broker_publishes_total", result="uncertain") == 0
    await aoi.wait_for(lambda: value(aoi, "aoi_gateway_closes_total") >= 1)


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
    assert value(aoi, "aoi_gateway_connections") == 2
    assert value(aoi, "aoi_gateway_sessions") == 2
    await phone.switch_off()
    await aoi.wait_for(lambda: value(aoi, "aoi_gateway_connections") == 1)
    assert value(aoi, "aoi_gateway_sessions") == 1
    assert value(aoi, "aoi_gateway_closes_total", by="device") == 1
    assert other.client.client_id


async def test_refused_and_parked(aoi: AoiServer) -> None:
    """A refusal counts under its code, an unknown request under no name of its own."""
    shop = await aoi.publisher()
    with pytest.raises(RequestRefused):
        await shop.status("never-sent")
    not_found = {"request": "notification.status", "code": "not_found"}
    assert value(aoi, "aoi_requests_total", **not_found) == 1
    unknown = Outbound("aoi.requests", "no.such.request", b"{}")
    broken = Outbound("aoi.requests", "notification.send", b"{")
    await aoi.installation.broker.publish([unknown, broken])
    await aoi.wait_for(lambda: value(aoi, "aoi_parked_messages_total") == 2)
    for queue, code in (("aoi.unroutable", "unknown_request"), ("aoi.notification", "malformed")):
        assert value(aoi, "aoi_parked_messages_total", queue=queue, code=code) == 1


async def test_deadlines_and_their_lag(aoi: AoiServer) -> None:
    """What expires is looked at by the deadlines worker, soon after its time."""
    phone = await aoi.device("phone", apps=[MAIL], sms=False)
    await phone.switch_off()
    shop = await aoi.publisher()
    await shop.send(phone.token, "late", notification="n1", ttl=60)
    await aoi.wait_for.state("n1", "stored")
    assert value(aoi, "aoi_deliveries_stored_total") == 1
    aoi.advance(61)
    await aoi.wait_for.state("n1", "expired")
    expired = {"state": "expired", "channel": "none", "by": "none"}
    assert value(aoi, "aoi_deliveries_settled_total", **expired) == 1
    assert value(aoi, "aoi_deadlines_due_total", kind="delivery") >= 1
    assert value(aoi, "aoi_deadlines_lag_seconds_count") >= 1


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
    assert value(aoi, "aoi_broker_reconnections_total") >= NUMBER
    assert value(aoi, "aoi_batch_messages_sum", queue="aoi.notification") > NUMBER
    assert value(aoi, "aoi_deliveries_accepted_total") == NUMBER
    ended = "aoi_deliveries_settled_total"
    assert value(aoi, ended, state="delivered") == value(aoi, ended) == NUMBER
    assert value(aoi, "aoi_delivery_delivered_seconds_count") == NUMBER
