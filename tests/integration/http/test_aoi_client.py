"""The AOI Client library with webhooks and Web Push, against a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from standardwebhooks import Webhook

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
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver, Subscription


class Pushed:
    """A device's receiver, as a source: decrypted, or verified with the secret of the answer."""

    def __init__(self, receiver: Receiver, keys: Subscription | None) -> None:
        self.client: AoiClient | None = None
        self._receiver = receiver
        self._keys = keys

    async def __aiter__(self) -> AsyncIterator[bytes]:
        number = 0
        while True:
            try:
                got = await self._receiver.next(number)
            except TimeoutError:
                continue
            number += 1
            if self._keys is not None:
                yield self._keys.read(got.body)
                continue
            assert self.client is not None
            [row] = [each for each in self.client.selected if each.type == "webhook"]
            Webhook(str(row.parameters["secret"])).verify(got.body, dict(got.headers))
            yield got.body


@pytest.mark.parametrize("channel", ["webhook", "webpush"])
async def test_a_device_is_reached_over_http_when_its_connection_is_gone(
    server: AoiServer, receiver: Receiver, shop: Publisher, wait_for: WaitFor, channel: str
) -> None:
    """The challenge goes back by itself, both channels are active; cut off, the device gets the
    next notification over HTTP, and acknowledges it when it is back: delivered by the device.
    """
    keys, parameters = None, dict[str, str | int | bool](url=receiver.url())
    if channel == "webpush":
        keys = Subscription()
        parameters = keys.parameters(receiver.url())
    source = Pushed(receiver, keys)
    transport = CuttableTransport(WebSocketTransport(server.gateway_url))
    inbox: asyncio.Queue[Notification] = asyncio.Queue()
    client = AoiClient(
        transport=transport,
        storage=MemoryStorage(),
        device="phone",
        identity="ann",
        offers=[ChannelOffer(type="websocket"), ChannelOffer(type=channel, parameters=parameters)],
        pushes={channel: source},
        reconnect_policy=ReconnectPolicy(first=0.05, most=0.1),
    )
    source.client = client
    async with asyncio.timeout(WITHIN), client:
        app = await client.register_application("org.mail", inbox.put)
        await client.until_channels({"websocket", channel})
        await shop.send(app.token, "over the connection")
        assert (await inbox.get()).channel == "websocket"
        transport.cut()
        await shop.send(app.token, "over the air", notification="n2")
        pushed = await inbox.get()
        assert (pushed.content.data, pushed.channel) == ("over the air", channel)
        await transport.restore()
        delivered = await wait_for("notification.delivered", notification="n2", by="device")
    assert isinstance(delivered.data, DeliveryChanged)
    assert delivered.data.channel == channel
