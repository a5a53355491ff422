"""One device with a connection, a telephone number and a webhook: parallel and hedged (8.2.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    MemoryStorage,
    Notification,
    ReconnectPolicy,
    WebSocketTransport,
)
from aoi_events.contracts.events import DeliveryChanged
from aoi_events.testing import AoiServer, WaitFor
from aoi_events.testing.scripted_client import CuttableTransport
from tests.integration.http.conftest import BOTH
from tests.integration.http.test_aoi_client import Pushed
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver

pytestmark = BOTH

NUMBER = "+15550177"
KINDS = {"websocket", "sms", "webhook"}


class Radio:
    """Wait until ``count`` short messages have arrived at the number."""

    def __init__(self, server: AoiServer) -> None:
        self.count = 0
        self._server = server
        self._changed = asyncio.Condition()

    async def __aiter__(self) -> AsyncIterator[object]:
        async for message in self._server.smsc.telephone(NUMBER):
            async with self._changed:
                self.count += 1
                self._changed.notify_all()
            yield message

    async def until(self, count: int) -> None:
        """So many have come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.count >= count)


@dataclass
class Device:
    """A device with all its channels; its app waits until ``gate`` is set."""

    transport: CuttableTransport
    radio: Radio
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: list[Notification] = field(default_factory=list)
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    token: str = ""

    async def take(self, notification: Notification) -> None:
        """The app."""
        self.inbox.append(notification)
        self.taken.set()
        await self.gate.wait()


@pytest.fixture
def aoi_settings(aoi_settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Every channel waits for longer than the test takes, so that silence ends nothing."""
    channels: dict[str, dict[str, Any]] = {"websocket": {}, "sms": {}, **aoi_settings["channels"]}
    patient = {kind: {**section, "ack_within": 280.0} for kind, section in channels.items()}
    return {**aoi_settings, "channels": patient}


@pytest.fixture
async def device(server: AoiServer, receiver: Receiver) -> AsyncIterator[Device]:
    """All three channels are active, the connection first, the webhook before the SMS."""
    source, radio = Pushed(receiver, None), Radio(server)
    device = Device(CuttableTransport(WebSocketTransport(server.gateway_url)), radio)
    client = AoiClient(
        transport=device.transport,
        storage=MemoryStorage(),
        device="phone",
        identity="ann",
        offers=[
            ChannelOffer(type="websocket"),
            ChannelOffer(type="webhook", parameters={"url": receiver.url()}),
            ChannelOffer(type="sms", parameters={"msisdn": NUMBER}),
        ],
        pushes={"webhook": source},
        sms=radio,  # type: ignore[arg-type]  # it yields what the SMSC's does
        reconnect_policy=ReconnectPolicy(first=0.05, most=0.1),
        handle_within=WITHIN,
    )
    source.client = client
    async with asyncio.timeout(WITHIN), client:
        app = await client.register_application("org.mail", device.take)
        device.token = app.token
        await client.until_channels(KINDS)
        yield device
        device.gate.set()


async def test_parallel_over_all_three(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    wait_for: WaitFor,
    device: Device,
) -> None:
    """Each channel carries it at once, the app gets it once, it is delivered once; the report says
    over which, what else was sent, and what that cost.
    """
    pushed, heard = len(receiver.got), device.radio.count
    await shop.send(device.token, "now", notification="n1", mode="parallel", urgency="high")
    await receiver.next(pushed)
    await device.radio.until(heard + 1)
    device.gate.set()
    await wait_for("notification.delivered", notification="n1", by="device")
    (status,) = (await shop.status("n1")).deliveries
    sent = [hop.channel for hop in status.story if hop.what == "sent"]
    assert sorted(map(str, sent)) == sorted(KINDS)
    assert status.channel in KINDS
    assert status.cost == pytest.approx(1.1)
    assert [hop.what for hop in status.story].count("delivered") == 1
    assert len(device.inbox) == 1


async def test_a_late_acknowledgement_stops_the_rest_of_a_hedge(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    wait_for: WaitFor,
    device: Device,
) -> None:
    """The app takes longer than the head start, so the webhook is used, too; its acknowledgement
    comes before the SMS's time, which is then never sent.
    """
    pushed, heard = len(receiver.got), device.radio.count
    await shop.send(device.token, "soon", notification="n1", mode="hedged", hedge_after=60)
    await device.taken.wait()
    assert len(receiver.got) == pushed
    server.advance(60)
    await receiver.next(pushed)
    device.gate.set()
    await wait_for("notification.delivered", notification="n1", by="device")
    server.advance(120)
    await shop.send(device.token, "after", notification="n2")
    await wait_for("notification.delivered", notification="n2")
    (status,) = (await shop.status("n1")).deliveries
    sent = [hop.channel for hop in status.story if hop.what == "sent"]
    assert sent == ["websocket", "webhook"]
    assert status.cost == pytest.approx(0.1)
    assert [hop.what for hop in status.story].count("delivered") == 1
    assert device.radio.count == heard
    assert [each.notification for each in device.inbox] == ["n1", "n2"]


async def test_a_hedge_bridges_a_connection_that_died_without_a_word(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    wait_for: WaitFor,
    device: Device,
) -> None:
    """Nobody knows that the connection is dead: after the head starts the webhook and the SMS have
    it, the app once, and when the device is back it is delivered, once.
    """
    pushed, heard = len(receiver.got), device.radio.count
    device.gate.set()
    device.transport.cut()
    await shop.send(device.token, "bridge", notification="n1", mode="hedged", hedge_after=0.3)
    await receiver.next(pushed)
    await device.radio.until(heard + 1)
    await device.transport.restore()
    delivered = await wait_for("notification.delivered", notification="n1", by="device")
    assert isinstance(delivered.data, DeliveryChanged)
    assert delivered.data.channel in ("webhook", "sms")
    assert [each.content.data for each in device.inbox] == ["bridge"]
