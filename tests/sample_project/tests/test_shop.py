"""The shop's own tests, against a whole AOI Server in the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from shop import Shop

from aoi_events import DeliveryState
from aoi_events.client import Disconnected
from aoi_events.testing import (
    AoiServer,
    DidNotHappen,
    FakeDevice,
    MakeDevice,
    Reply,
    Say,
    ScriptedProvider,
    WaitFor,
)

pytestmark = pytest.mark.asyncio

APP = "com.example.shop"


@pytest_asyncio.fixture
async def phone(fake_device: MakeDevice) -> FakeDevice:
    """Ann's phone, with our app on it."""
    return await fake_device("phone", apps=[APP])


@pytest_asyncio.fixture
async def shop(aoi: AoiServer, phone: FakeDevice) -> AsyncIterator[Shop]:
    """The backend under test, which knows Ann's app."""
    async with Shop(aoi.broker_url("shop")) as shop:
        shop.know("ann", phone.token)
        yield shop


async def test_ann_hears_of_her_order(shop: Shop, phone: FakeDevice, wait_for: WaitFor) -> None:
    """A shipped order is shown on the phone, and the shop learns that it was."""
    assert await shop.ship("order-1", "ann")
    notification = await phone.read()
    assert notification.content.data == "Order order-1 is on its way"
    assert notification.channel == "websocket"
    await wait_for(lambda: "order-1" in shop.told)
    assert await shop.state("order-1") is DeliveryState.DELIVERED


async def test_sms_reaches_her_where_there_is_no_data(
    shop: Shop, phone: FakeDevice, wait_for: WaitFor
) -> None:
    """When the phone's data connection dies without a word, the news comes by SMS."""
    phone.cut()
    assert await shop.ship("order-2", "ann")
    assert (await phone.read()).channel == "sms"
    await wait_for("notification.delivered", notification="order-2")


async def test_stored_while_the_phone_is_off(
    aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """What comes while the phone is switched off waits for it."""
    phone = await fake_device("phone", apps=[APP], sms=False)
    await phone.switch_off()
    async with Shop(aoi.broker_url("shop")) as shop:
        shop.know("ann", phone.app.last_token)
        await shop.ship("order-3", "ann")
        await wait_for.state("order-3", "stored")
        await phone.switch_on()
        assert (await phone.read()).notification == "order-3"
        await wait_for.state("order-3", DeliveryState.DELIVERED)


async def test_news_gets_old(aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor) -> None:
    """An hour later nobody needs the news: it expires, without an hour of waiting."""
    phone = await fake_device("phone", apps=[APP], sms=False)
    await phone.switch_off()
    async with Shop(aoi.broker_url("shop")) as shop:
        shop.know("ann", phone.app.last_token)
        await shop.ship("order-4", "ann", ttl=3_600)
        await wait_for.state("order-4", "stored")
        aoi.advance(3_600)
        event = await wait_for("notification.expired", notification="order-4")
    assert event.subject is not None


@pytest.mark.aoi_settings(policy={"backlog": 1})
async def test_settings_of_one_test(
    aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """A test's own settings: a backlog of one is full with the second notification."""
    phone = await fake_device("phone", apps=[APP], sms=False)
    await phone.switch_off()
    async with Shop(aoi.broker_url("shop")) as shop:
        shop.know("ann", phone.app.last_token)
        await shop.ship("order-5", "ann")
        await wait_for.state("order-5", "stored")
        await shop.ship("order-6", "ann")
        (delivery,) = await wait_for.state("order-6", "failed")
    assert delivery.reason == "backlog_full"


async def test_a_stranger_gets_nothing(shop: Shop, phone: FakeDevice) -> None:
    """After another user took the phone over, the old token is refused."""
    await phone.change_user("tel:+15559999")
    assert not await shop.ship("order-7", "ann")


async def test_an_operator_that_refuses(
    aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """With an SMSC that knows no such number, the phone has only its WebSocket."""
    aoi.smsc.default = Reply.bad_number()
    phone = await fake_device("phone", apps=[APP], ready=False)
    await phone.ready("websocket")
    await wait_for(lambda: aoi.smsc.submissions)
    assert phone.client.channels == {"websocket"}


async def test_a_provider_of_my_choice(
    aoi: AoiServer,
    fake_device: MakeDevice,
    scripted_channel: ScriptedProvider,
    wait_for: WaitFor,
) -> None:
    """A provider that is busy at first and then takes the news: it is tried again, and taken."""
    phone = await fake_device("phone", apps=[APP], sms=False, scripted=True)
    await phone.switch_off()
    scripted_channel.script(Say.refused(retry_after=60), Say.accepted())
    async with Shop(aoi.broker_url("shop")) as shop:
        shop.know("ann", phone.app.last_token)
        await shop.ship("order-9", "ann")
        first = await scripted_channel.next_delivery()
        await wait_for.hop("order-9", "refused")
        aoi.advance(60)
        second = await scripted_channel.next_delivery()
        assert (first.delivery, first.attempt + 1) == (second.delivery, second.attempt)
        await wait_for.hop("order-9", "accepted")
        aoi.advance(30)
        (delivery,) = await wait_for.state("order-9", "delivered")
    assert delivery.by == "provider"


async def test_failures_tell_what_was_seen(
    shop: Shop, phone: FakeDevice, wait_for: WaitFor
) -> None:
    """A wait that fails says what happened instead."""
    await shop.ship("order-8", "ann")
    await phone.read()
    await wait_for.state("order-8", "delivered")
    with pytest.raises(DidNotHappen) as failure:
        await wait_for("notification.expired", notification="order-8", within=0.2)
    assert "notification.expired notification=order-8 did not happen within 0.2 s" in str(
        failure.value
    )
    assert "notification.delivered notification=order-8" in str(failure.value)
    with pytest.raises(DidNotHappen, match="delivered"):
        await wait_for.state("order-8", "failed", within=0.2)
    with pytest.raises(DidNotHappen, match="Disconnected device=phone did not happen"):
        await wait_for(Disconnected, device="phone", within=0.2)


async def test_a_typing_error_is_no_wait(wait_for: WaitFor) -> None:
    """An event or a field that does not exist fails at once, and says which exist."""
    with pytest.raises(ValueError, match=r"there are .*notification\.delivered"):
        await wait_for("notification.deliverd")
    with pytest.raises(ValueError, match=r"it has .*notification"):
        await wait_for("notification.delivered", notificaton="x")
