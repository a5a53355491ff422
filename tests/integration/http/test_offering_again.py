"""The AOI Client library gets a subscription back that the server closed, and SMS likewise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from aoi_events import Publisher
from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    MemoryStorage,
    Notification,
    ReconnectPolicy,
    ShortMessage,
    WebSocketTransport,
)
from aoi_events.contracts.events import ChannelChanged
from aoi_events.contracts.states import CloseReason
from aoi_events.testing import AoiServer, WaitFor
from aoi_events.testing.movable_clock import MovableClock
from aoi_events.testing.scripted_client import CuttableTransport
from aoi_events.testing.smsc import Reply as SmscReply
from tests.integration.http.test_aoi_client import Pushed
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver, Reply, Subscription

NUMBER = "+15550100"
ROUND = 121.0
"""Seconds that put the server's clock past the time of one challenge."""
SHORTEST_FIRST_PAUSE, LONGEST_FIRST_PAUSE = 60.0, 120.0


class PhoneClock(MovableClock):
    """A clock that the test puts forward once a pause before an offer has begun."""

    def __init__(self) -> None:
        super().__init__()
        self._pausing = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock."""
        if seconds >= SHORTEST_FIRST_PAUSE:
            self._pausing.set()
        await super().sleep(seconds)

    async def end_pause(self) -> None:
        """Wait for the first pause to begin, and end it."""
        async with asyncio.timeout(WITHIN):
            await self._pausing.wait()
        self.advance(LONGEST_FIRST_PAUSE)


class Phone:
    """An AOI Client with the clock of the test, and a radio that can be off: it reads nothing."""

    def __init__(self, server: AoiServer, receiver: Receiver) -> None:
        self.clock = PhoneClock()
        self.transport = CuttableTransport(WebSocketTransport(server.gateway_url))
        self.radio_on = True
        self._smsc = server.smsc
        keys = Subscription()
        self.source = Pushed(receiver, keys)
        self.offers = {
            "webpush": ChannelOffer(type="webpush", parameters=keys.parameters(receiver.url())),
            "sms": ChannelOffer(type="sms", parameters={"msisdn": NUMBER}),
        }

    def client(self, channel: str) -> AoiClient:
        """The AOI Client, which offers the WebSocket and this channel."""
        return AoiClient(
            transport=self.transport,
            storage=MemoryStorage(),
            device="phone",
            identity="ann",
            offers=[ChannelOffer(type="websocket"), self.offers[channel]],
            sms=self._radio(),
            pushes={"webpush": self.source},
            reconnect_policy=ReconnectPolicy(first=0.05, most=0.1),
            clock=self.clock,
        )

    async def _radio(self) -> AsyncIterator[ShortMessage]:
        async for message in self._smsc.telephone(NUMBER):
            if self.radio_on:
                yield message


StartPhone = Callable[[str], Awaitable[AoiClient]]
Inbox = asyncio.Queue[Notification]


@pytest.fixture
def phone(server: AoiServer, receiver: Receiver) -> Phone:
    """The phone."""
    return Phone(server, receiver)


@pytest.fixture
async def start(phone: Phone) -> AsyncIterator[StartPhone]:
    """Starts the phone's AOI Client, with one channel beside the WebSocket."""
    async with AsyncExitStack() as stack:

        async def start(channel: str) -> AoiClient:
            return await stack.enter_async_context(phone.client(channel))

        yield start


async def test_subscription_that_answered_404_once_is_active_after_the_next_contact(
    receiver: Receiver, shop: Publisher, wait_for: WaitFor, phone: Phone, start: StartPhone
) -> None:
    """One push is answered 404, all later ones 201: the next contact has the channel back."""
    client = await start("webpush")
    app = await client.register_application("org.mail", Inbox().put)
    await client.until_channels({"websocket", "webpush"})
    phone.transport.cut()
    receiver.script(Reply(404))
    await shop.send(app.token, "over the air")
    closed = await wait_for("channel.closed", client=client.client_id)
    assert isinstance(closed.data, ChannelChanged)
    assert closed.data.reason == CloseReason.ADDRESS_REFUSED
    await wait_for("channel.activated", channel="webpush")
    await phone.transport.restore()
    await wait_for("channel.activated", channel="webpush")
    await client.until_channels({"websocket", "webpush"}, timeout=WITHIN)


async def test_number_whose_challenges_were_not_read_is_active_after_a_pause(
    server: AoiServer, shop: Publisher, wait_for: WaitFor, phone: Phone, start: StartPhone
) -> None:
    """The radio is off for three challenges, and the connection stays: SMS is offered again, and
    reaches the device when the data connection drops (8.2.2).
    """
    phone.radio_on = False
    client = await start("sms")
    inbox = Inbox()
    app = await client.register_application("org.mail", inbox.put)
    for challenges in (1, 2, 3):
        await server.smsc.submitted(challenges)
        server.advance(ROUND)
    closed = await wait_for("channel.closed", client=client.client_id)
    assert isinstance(closed.data, ChannelChanged)
    assert closed.data.reason == CloseReason.NOT_PROVED
    phone.radio_on = True
    await phone.clock.end_pause()
    await client.until_channels({"websocket", "sms"}, timeout=WITHIN)
    phone.transport.cut()
    await shop.send(app.token, "by SMS")
    async with asyncio.timeout(WITHIN):
        assert (await inbox.get()).content.data == "by SMS"
    await phone.transport.restore()


async def test_number_whose_first_challenge_was_refused_is_active_after_a_pause(
    server: AoiServer, wait_for: WaitFor, phone: Phone, start: StartPhone
) -> None:
    """The SMSC refuses the first challenge for good, and takes the next one."""
    server.smsc.script(SmscReply.bad_number())
    client = await start("sms")
    await client.register_application("org.mail", Inbox().put)
    closed = await wait_for("channel.closed", client=client.client_id)
    assert isinstance(closed.data, ChannelChanged)
    assert closed.data.reason == CloseReason.CHALLENGE_REFUSED
    await phone.clock.end_pause()
    await client.until_channels({"websocket", "sms"}, timeout=WITHIN)
