"""Browsers and the whole server: each message a request to the workers, or a delivery of theirs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from aoi_events.errors import RequestRefused
from aoi_events.publishing import Publisher
from aoi_events.testing import AoiServer
from tests.integration.browsers.browser import Browser, text_of
from tests.integration.browsers.conftest import encrypted

KEYS = (
    "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs",
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
)
"""Public keys of RFC 8292, section 2.4, and RFC 8291, section 5."""


async def opened(place: AoiServer, stack: AsyncExitStack) -> Browser:
    """A new browser that is connected."""
    browser = Browser(place.gateway_url, stack)
    assert not await browser.open()
    return browser


async def send(shop: Publisher, token: str, name: str) -> None:
    """Send a notification of that name, with its name as text."""
    answer = await shop.send(token, encrypted(name), notification=name)
    assert len(answer.deliveries) == 1, answer.rejected


async def test_a_day_of_a_browser(place: AoiServer, stack: AsyncExitStack) -> None:
    """hello, register, notification, ack: delivered, by the device's own word."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    channel = str(uuid4())
    token = await browser.subscribe(channel)
    assert await browser.subscribe(channel) == token, "a repeat gives the same"
    await send(shop, token, "n1")
    message = await browser.hear("notification")
    assert (message["channelID"], text_of(message)) == (channel, "n1")
    assert message["headers"] == {"encoding": "aes128gcm"}
    await browser.acknowledge(message)
    (delivery,) = await place.wait_for.state("n1", "delivered")
    assert delivery.by == "device"
    await browser.ping()


async def test_a_browser_without_a_subscription_leaves_nothing(
    place: AoiServer, stack: AsyncExitStack
) -> None:
    """Firefox shows no uaid then, however often it connects; the first page makes it a client."""
    browser = await opened(place, stack)
    for _ in range(3):
        await browser.close()
        browser.uaid = None
        assert not await browser.open()
        await browser.ping()
    shop = await place.publisher("shop")
    await send(shop, await browser.subscribe(), "n1")
    await place.wait_for("client.registered")
    assert await browser.pushed() == "n1"
    await place.wait_for.state("n1", "delivered")
    kinds = [event.type for event in place.events]
    assert kinds.count("aoi.client.registered.v1") == 1, kinds
    await browser.close()
    assert await browser.open(), "the uaid that it was told first is that of the client"


async def test_what_was_not_acknowledged_comes_again(
    place: AoiServer, stack: AsyncExitStack
) -> None:
    """On the next connection, under the same version; what was acknowledged does not."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    await send(shop, token, "kept")
    assert await browser.pushed() == "kept"
    await send(shop, token, "lost")
    first = await browser.hear("notification")
    await browser.close()
    await place.wait_for.state("lost", "stored")
    assert await browser.open(), "the uaid stays"
    again = await browser.hear("notification")
    assert (again["version"], text_of(again)) == (first["version"], "lost")
    # Firefox remembers the version: the page has had it, only the acknowledgement was lost.
    await browser.acknowledge(again, 102)
    (delivery,) = await place.wait_for.state("lost", "delivered")
    assert delivery.by == "device"


@pytest.mark.aoi_settings(policy={"release": 2})
async def test_stored_ones_come_in_batches(place: AoiServer, stack: AsyncExitStack) -> None:
    """What came while it was closed comes in order, and no more at once than the bound."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    await browser.close()
    await place.wait_for("client.registered")
    for number in range(6):
        await send(shop, token, f"n{number}")
        await place.wait_for.state(f"n{number}", "stored")
    assert await browser.open()
    seen: list[str] = []
    for _ in range(3):
        pair = [await browser.hear("notification") for _ in range(2)]
        # Only these two: the pong comes before anything else does.
        await browser.ping()
        seen += sorted(map(text_of, pair))
        for message in pair:
            await browser.acknowledge(message)
    assert seen == [f"n{number}" for number in range(6)]


async def test_500_subscriptions_at_once(place: AoiServer, stack: AsyncExitStack) -> None:
    """Firefox registers all of its subscriptions at once after it got a new uaid, and ends them at
    once when their pages are removed: each is answered, works, and has ended.
    """
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    channels = [str(uuid4()) for _ in range(500)]
    for channel in channels:
        await browser.say("register", channelID=channel)
    replies = [await browser.hear("register") for _ in channels]
    assert {reply["status"] for reply in replies} == {200}
    assert {reply["channelID"] for reply in replies} == set(channels)
    tokens = {each["channelID"]: each["pushEndpoint"].rpartition("/")[2] for each in replies}
    last = tokens[channels[-1]]
    await send(shop, last, "n1")
    assert await browser.pushed() == "n1"
    for channel in channels:
        await browser.say("unregister", channelID=channel, code=200)
    ended = [await browser.hear("unregister") for _ in channels]
    assert {reply["status"] for reply in ended} == {200}
    answer = await shop.send(list(tokens.values()), encrypted("gone"))
    assert {each.code for each in answer.rejected} == {"token_revoked"}
    assert len(answer.rejected) == len(channels)


async def test_hello_and_register_at_once(place: AoiServer, stack: AsyncExitStack) -> None:
    """A known client that does not wait for the answer to its hello gets what it asks for."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    await browser.subscribe()
    await browser.close()
    channels = [str(uuid4()) for _ in range(3)]
    assert await browser.open(*channels), "the uaid stays"
    replies = [await browser.hear("register") for _ in channels]
    assert {(each["status"], each["channelID"]) for each in replies} == {(200, c) for c in channels}
    for reply in replies:
        await send(shop, reply["pushEndpoint"].rpartition("/")[2], reply["channelID"])
    assert {await browser.pushed() for _ in channels} == set(channels)


async def test_unregister_ends_the_token(place: AoiServer, stack: AsyncExitStack) -> None:
    """Senders are told; what comes of the channelID later is another subscription."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    channel = str(uuid4())
    token = await browser.subscribe(channel)
    assert await browser.unsubscribe(channel) == 200
    assert await browser.unsubscribe(channel) == 200, "what is gone has been unregistered"
    assert await browser.unsubscribe(str(uuid4())) == 200
    answer = await shop.send(token, encrypted("gone"))
    assert [each.code for each in answer.rejected] == ["token_revoked"]
    other = await browser.subscribe(channel)
    assert other != token
    await send(shop, other, "back")
    assert await browser.pushed() == "back"


async def test_a_key_binds_the_subscription(place: AoiServer, stack: AsyncExitStack) -> None:
    """With a key nobody else may send to it; with another key it is another subscription."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    channel = str(uuid4())
    bound = await browser.subscribe(channel, KEYS[0])
    assert await browser.subscribe(channel, KEYS[0] + "=") == bound
    answer = await shop.send(bound, encrypted("not for me to say"))
    assert [each.code for each in answer.rejected] == ["not_allowed"]
    assert (await browser.register(channel, "B" + "A" * 86))["status"] == 400, "no point of P-256"
    other = await browser.subscribe(channel, KEYS[1])
    assert other != bound
    answer = await shop.send(bound, encrypted("too late"))
    assert [each.code for each in answer.rejected] == ["token_revoked"]


@pytest.mark.aoi_settings(policy={"applications_per_client": 2})
async def test_subscriptions_of_a_browser_are_bounded(
    place: AoiServer, stack: AsyncExitStack
) -> None:
    """One too many is refused with 429; when one ends, there is room again."""
    browser = await opened(place, stack)
    channels = [str(uuid4()) for _ in range(3)]
    for channel in channels[:2]:
        await browser.subscribe(channel)
    assert (await browser.register(channels[2]))["status"] == 429
    assert await browser.unsubscribe(channels[0]) == 200
    await browser.subscribe(channels[2])


async def test_another_connection_takes_over(place: AoiServer, stack: AsyncExitStack) -> None:
    """The first is told to stay away (4774), so that the two do not fight; nothing is lost."""
    shop = await place.publisher("shop")
    first = await opened(place, stack)
    token = await first.subscribe()
    await send(shop, token, "n1")
    await first.hear("notification")
    second = Browser(place.gateway_url, stack)
    second.uaid = first.uaid
    assert await second.open()
    assert await first.closed() == 4774
    assert await second.pushed() == "n1"
    await place.wait_for.state("n1", "delivered")


@pytest.mark.parametrize("code", [101, 102])
async def test_what_the_browser_throws_away_fails(
    place: AoiServer, stack: AsyncExitStack, code: int
) -> None:
    """It cannot decrypt it, or has nobody to give it to: failed, and the next one may do."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    await send(shop, token, "n1")
    await browser.pushed(code=code)
    (delivery,) = await place.wait_for.state("n1", "failed")
    assert delivery.reason == "discarded"
    await send(shop, token, "n2")
    assert await browser.pushed() == "n2"
    await place.wait_for.state("n2", "delivered")


async def test_what_nobody_encrypted_fails(place: AoiServer, stack: AsyncExitStack) -> None:
    """A browser would swallow it and say that it was delivered."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    await shop.send(token, "in the clear", notification="n1")
    (delivery,) = await place.wait_for.state("n1", "failed")
    assert delivery.reason == "discarded"
    await shop.send(token, b"", notification="n2")
    message = await browser.hear("notification")
    assert "data" not in message
    await browser.acknowledge(message)
    await place.wait_for.state("n2", "delivered")


@pytest.mark.aoi_settings(policy={"backlog": 2})
async def test_who_lost_notifications_begins_anew(place: AoiServer, stack: AsyncExitStack) -> None:
    """What fitted the backlog is delivered; then another uaid ends its subscriptions, so that its
    pages ask what they missed.
    """
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    before = browser.uaid
    await browser.close()
    for number in range(4):
        await send(shop, token, f"n{number}")
    for name in ("n2", "n3"):
        await place.wait_for("notification.failed", notification=name, reason="backlog_full")
    assert await browser.open(), "the uaid stays until the others are delivered"
    assert {await browser.pushed(), await browser.pushed()} == {"n0", "n1"}
    assert await browser.closed() == 1000
    for name in ("n0", "n1"):
        await place.wait_for.state(name, "delivered")
    assert not await browser.open()
    assert browser.uaid != before
    answer = await shop.send(token, encrypted("anybody?"))
    assert [each.code for each in answer.rejected] == ["token_revoked"]
    await send(shop, await browser.subscribe(), "anew")
    assert await browser.pushed() == "anew"
    old = Browser(place.gateway_url, stack)
    old.uaid = before
    assert not await old.open(), "the old one is nobody's any more"


async def test_a_uaid_is_worth_nothing_in_part(place: AoiServer, stack: AsyncExitStack) -> None:
    """Right client, wrong secret: another client, that gets nothing of the first's."""
    shop = await place.publisher("shop")
    browser = await opened(place, stack)
    token = await browser.subscribe()
    assert browser.uaid is not None
    thief = Browser(place.gateway_url, stack)
    thief.uaid = browser.uaid[:-4] + ("AAAA" if not browser.uaid.endswith("AAAA") else "BBBB")
    assert not await thief.open()
    await send(shop, token, "n1")
    assert await browser.pushed() == "n1"
    await thief.ping()
    with pytest.raises(RequestRefused):
        await shop.status("n2")
