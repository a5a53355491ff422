"""A stock Firefox is our AOI Client, and libraries that are not ours are Application Servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.audit import Audit
from tests.acceptance.browser.conftest import Service, Visitor, received, subscribed
from tests.acceptance.browser.senders import NodeSender, PythonSender, VapidKey
from tests.acceptance.server_under_test import ServerUnderTest
from tests.support.limits import WITHIN

pytestmark = pytest.mark.timeout(600)


async def test_a_page_receives_what_two_libraries_send(
    service: Service, visitor: Visitor, tmp_path: Path
) -> None:
    """Subscribed with a VAPID key: both codings, both libraries, again after a new gateway."""
    key = VapidKey()
    python = PythonSender(key, service.authority)
    node = NodeSender(key, service.authority)
    async with visitor.visiting() as page:
        subscription = await subscribed(page, key.public)
        expected = []
        for sender, coding in (
            (python, "aes128gcm"),
            (node, "aes128gcm"),
            (python, "aesgcm"),
            (node, "aesgcm"),
        ):
            text = f"{type(sender).__name__} says grüß Gott in {coding}"
            sent = await sender.send(subscription, text, coding=coding)
            assert sent.status == 201, sent
            expected.append(text)
            assert await received(page, len(expected)) == expected
        (tmp_path / "received.png").write_bytes(await page.screenshot())

        (gateway,) = [worker for worker in service.workers.running if worker.kind == "gateway"]
        gateway.kill()
        await gateway.ended()
        await service.workers.start("gateway-1")
        for sender in (python, node):
            text = f"{type(sender).__name__} after another gateway came"
            assert (await sender.send(subscription, text)).status == 201
            expected.append(text)
            assert await received(page, len(expected)) == expected


async def test_what_was_sent_while_firefox_was_closed(service: Service, visitor: Visitor) -> None:
    """It is kept, and the page has it when the browser comes back; of a topic only the newest."""
    key = VapidKey()
    python = PythonSender(key, service.authority)
    node = NodeSender(key, service.authority)
    async with visitor.visiting() as page:
        subscription = await subscribed(page, key.public)
        assert (await python.send(subscription, "while it is open")).status == 201
        await received(page, 1)
    for number in (1, 2, 3):
        sender = (python, node)[number % 2]
        assert (await sender.send(subscription, f"while closed {number}")).status == 201
        assert (await sender.send(subscription, f"score {number}", topic="score")).status == 201
    assert (await node.send(subscription, "now or never", ttl=0)).status == 201
    async with visitor.visiting() as page:
        texts = await received(page, 5)
        assert sorted(texts) == [
            "score 3",
            "while closed 1",
            "while closed 2",
            "while closed 3",
            "while it is open",
        ]
        assert (await python.send(subscription, "open again")).status == 201
        assert (await received(page, 6))[-1] == "open again"


async def test_an_ended_subscription_is_gone(service: Service, visitor: Visitor) -> None:
    """After unsubscribe() senders are told 410; who subscribes again has another endpoint."""
    key = VapidKey()
    python = PythonSender(key, service.authority)
    node = NodeSender(key, service.authority)
    async with visitor.visiting() as page:
        first = await subscribed(page, key.public)
        assert await page.call("unsubscribe") is True
        assert (await python.send(first, "anybody there?")).status == 410
        assert (await node.send(first, "anybody there?")).status == 410
        second = await subscribed(page, key.public)
        assert second["endpoint"] != first["endpoint"]
        assert (await node.send(second, "here I am")).status == 201
        assert await received(page, 1) == ["here I am"]


async def test_30_subscriptions_at_once(service: Service, visitor: Visitor) -> None:
    """Each of 30 subscriptions made at once takes messages; ended at once, each is gone."""
    sender = PythonSender(None, service.authority)
    async with visitor.visiting() as page:
        subscriptions = json.loads(await page.call("subscribeMany", 30))
        assert len({each["endpoint"] for each in subscriptions}) == 30
        for number, subscription in enumerate(subscriptions, 1):
            assert (await sender.send(subscription, f"number {number}")).status == 201
            assert (await received(page, number))[-1] == f"number {number}"
        assert await page.call("unsubscribeAll") is True
        for subscription in subscriptions:
            assert (await sender.send(subscription, "anybody there?")).status == 410


async def test_a_subscription_takes_messages_of_its_sender_only(
    service: Service, visitor: Visitor
) -> None:
    """Without a key, or with another, nothing comes through; a subscription without takes any."""
    key = VapidKey()
    async with visitor.visiting() as page:
        subscription = await subscribed(page, key.public)
        stranger = PythonSender(VapidKey(), service.authority)
        nobody = PythonSender(None, service.authority)
        assert (await stranger.send(subscription, "let me in")).status == 403
        assert (await nobody.send(subscription, "let me in")).status == 401
        assert await page.call("unsubscribe") is True
        open_to_all = await subscribed(page, None)
        for number, sender in enumerate((stranger, nobody), 1):
            assert (await sender.send(open_to_all, f"open {number}")).status == 201
            assert len(await received(page, number)) == number


@pytest.mark.parametrize("more", [{"AOI_POLICY__BACKLOG": "2"}])
async def test_a_page_that_missed_too_much_is_told_to_subscribe_anew(
    server: ServerUnderTest, service: Service, visitor: Visitor
) -> None:
    """More than its backlog came while it was closed: what fitted is delivered, then the service
    worker hears that its subscription has ended, senders that it is gone, and another one works.
    """
    key = VapidKey()
    sender = PythonSender(key, service.authority)
    async with Audit(server.broker("audit")) as audit:
        async with visitor.visiting() as page:
            first = await subscribed(page, key.public)
            assert (await sender.send(first, "while it is open")).status == 201
            await received(page, 1)
        for number in range(4):
            assert (await sender.send(first, f"while closed {number}")).status == 201
        # The one that came, and two that had no place.
        await audit.until(lambda: len(audit.ends) == 3, "two are too many", within=WITHIN)
    async with visitor.visiting() as page:
        before, *closed, after = await received(page, 4)
        assert (before, after) == ("while it is open", "(subscribe anew)")
        assert sorted(closed) == ["while closed 0", "while closed 1"]
        assert (await sender.send(first, "anybody there?")).status == 410
        second = await subscribed(page, key.public)
        assert second["endpoint"] != first["endpoint"]
        assert (await sender.send(second, "here I am")).status == 201
        assert (await received(page, 5))[-1] == "here I am"
