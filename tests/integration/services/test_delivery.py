"""Deliveries over channels that fall back on each other (8.1.4, 8.2.4)."""

from __future__ import annotations

import logging

import pytest

from aoi_events.contracts.answers import NotificationContentV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import CloseReason
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.system import System

pytestmark = BOTH


async def test_a_connected_device_gets_it_and_acknowledges(system: System) -> None:
    """8.2.4: a connected device is reached over its connection, and its acknowledgement settles."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)

    accepted = await shop.send("n1", device.token)
    item = await node.next_delivery()
    assert (item.delivery, item.token) == (accepted.deliveries[0].delivery, device.token)
    assert item.content.data == "hello"
    await node.acknowledge(item)

    event = await system.events.wait_for("notification.delivered", notification="n1", by="device")
    assert event.data.channel == "websocket"  # type: ignore[union-attr]
    assert await shop.story("n1") == ["sent", "delivered"]


async def test_silence_of_a_cut_connection_starts_the_fallback(system: System) -> None:
    """8.2.2: a connection that is cut without a word never says "failed", the deadline does; the
    connectionless channel then takes over without a new activation.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.next_delivery()

    await system.advance(31)
    item = await system.provider.next_delivery()
    assert item.parameters == {"address": "a1"}
    await node.acknowledge(item)

    await system.events.wait_for("notification.delivered", notification="n1", channel="scripted")
    story = [what for what in await shop.story("n1") if what != "accepted"]
    assert story == ["sent", "not acknowledged", "sent", "delivered"]


async def test_a_gateway_that_is_gone_costs_no_time(system: System) -> None:
    """A returned publish is *route lost*, which ends that presence and starts the next step at
    once.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await node.die()

    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    (row,) = await system.rows("n1")
    assert row.steps[0].over == "route_lost"
    async with system.installation.store.transaction(read_only=True) as tx:
        assert (await tx.clients({device.client}))[device.client].presence is None


async def test_a_transient_refusal_is_tried_again_when_the_provider_says(system: System) -> None:
    """A transient refusal is retried on its channel, not before its Retry-After."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.script(Say.refused(retry_after=20))
    await shop.send("n1", device.token)
    first = await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "refused" in story)

    await system.advance(19)
    assert len(system.provider.deliveries) == 1
    await system.advance(2)
    again = await system.provider.next_delivery()
    assert (again.delivery, again.attempt) == (first.delivery, first.attempt + 1)


async def test_refusals_end_with_the_time_to_live(system: System) -> None:
    """Retries stay within the TTL; expiry is absolute."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.default = Say.refused(retry_after=40)
    await shop.send("n1", device.token, ttl=60)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "refused" in story)
    await system.advance(41)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "stored" in story)
    await system.advance(20)
    await system.events.wait_for("notification.expired", notification="n1")
    assert len(system.provider.deliveries) == 2


async def test_a_permanent_refusal_closes_the_channel_and_starts_the_next_step(
    open_system: OpenSystem,
) -> None:
    """A permanent refusal closes that channel, tells the client at its next contact, and starts the
    next step.
    """
    system = await open_system()
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    system.provider.script(Say.rejected(closes_channel=True))

    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    closed = await system.events.wait_for("channel.closed", client=device.client)
    assert closed.data.reason == CloseReason.ADDRESS_REFUSED  # type: ignore[union-attr]
    assert closed.data.detail == "no such address"  # type: ignore[union-attr]
    await system.events.wait_for("notification.stored", notification="n1")

    welcome = await node.connect(device)
    assert [(row.type, row.reason, row.detail) for row in welcome.closed] == [
        ("scripted", CloseReason.ADDRESS_REFUSED, "no such address")
    ]
    await system.process_due()
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    # Told, and over: nothing goes to that address any more.
    await shop.send("n2", device.token)
    await node.next_delivery()
    await system.advance(31)
    await system.events.wait_for("notification.stored", notification="n2")
    assert len(system.provider.deliveries) == 1


async def test_a_late_acknowledgement_corrects_expiry(system: System) -> None:
    """The only terminal change is to *delivered*; an acknowledgement is the truth, even late, and
    its event says what it corrects.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token, ttl=10)
    item = await node.next_delivery()
    await system.advance(11)
    await system.events.wait_for("notification.expired", notification="n1")

    await node.acknowledge(item)
    event = await system.events.wait_for("notification.delivered", notification="n1")
    assert event.data.supersedes == "expired"  # type: ignore[union-attr]


async def test_only_the_addressed_client_may_acknowledge(system: System) -> None:
    """An acknowledgement counts only from the client it was addressed to."""
    shop, node = await system.user(), await system.node()
    mine, other = await system.device("websocket"), await system.device("websocket")
    await node.connect(mine, "s1")
    await node.connect(other, "s2")
    await shop.send("n1", mine.token)
    item = await node.next_delivery()
    await node.acknowledge(item, client=other.client)
    await node.report(item, OutcomeKind.NO_SUCH_APPLICATION, client=other.client)

    # The queue keeps its order, so once this one is settled, those have been looked at.
    await shop.send("n2", other.token)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n2")
    assert await shop.story("n1") == ["sent"]
    assert (await shop.send("n3", mine.token)).rejected == ()


async def test_an_outcome_of_nothing_we_know_does_no_harm(system: System) -> None:
    """An outcome without its delivery (retention, a forgery) is ignored; those beside it count."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    await node.acknowledge(item, delivery="dlv_" + "a" * 26)
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1")


async def test_no_such_application_fails_it_and_revokes_the_token(system: System) -> None:
    """The device's refusal *no such app* ends the delivery and the token."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.report(await node.next_delivery(), OutcomeKind.NO_SUCH_APPLICATION)

    event = await system.events.wait_for("notification.failed", notification="n1")
    assert event.data.reason == "no_such_application"  # type: ignore[union-attr]
    await system.events.wait_for("application.revoked", reason="no_such_application")
    (rejected,) = (await shop.send("n2", device.token)).rejected
    assert rejected.code == "token_revoked"


async def test_could_not_wake_waits_for_the_app_to_start(system: System) -> None:
    """*could not wake* → stored, and due at the next ``application.register``, which apps repeat
    when they start.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    system.clock.advance(1)
    await node.report(await node.next_delivery(), OutcomeKind.COULD_NOT_WAKE, at=system.clock.now())
    await system.events.wait_for("notification.stored", notification="n1", reason="could_not_wake")

    system.clock.advance(1)
    await device.register_app()
    await system.process_due()
    item = await node.next_delivery()
    assert item.notification == "n1"
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1")


async def test_an_app_that_starts_while_it_cannot_be_woken_is_not_missed(system: System) -> None:
    """Storing and the device's return exclude each other, so neither misses the other: what is
    stored after the return is due at once.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    system.clock.advance(1)
    await device.register_app()
    await node.report(item, OutcomeKind.COULD_NOT_WAKE, at=system.clock.now())
    await system.events.wait_for("notification.stored", notification="n1")
    await system.process_due()
    assert (await node.next_delivery()).notification == "n1"


async def test_a_device_that_came_back_meanwhile_is_not_missed(system: System) -> None:
    """A delivery whose last attempt ends after the device connected again is sent over the new
    connection, and does not wait for the next one.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device, "s1")
    await shop.send("n1", device.token)
    first = await node.next_delivery()
    await system.advance(5)
    await node.connect(device, "s2")
    await node.next_close()
    await system.advance(26)

    again = await node.next_delivery()
    assert (first.session, again.session) == ("s1", "s2")
    await node.acknowledge(again)
    await system.events.wait_for("notification.delivered", notification="n1")


async def test_a_wake_up_is_fetched_and_acknowledged(open_system: OpenSystem) -> None:
    """Too large for a channel: a wake-up carries the delivery's ID, the device fetches the content;
    acceptance of a wake-up never settles.
    """
    system = await open_system(plugin={"largest_content": 10})
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token, data="more than ten octets")
    item = await system.provider.next_delivery()
    assert item.wake_up
    content = await device.ask("notification.fetch", delivery=item.delivery)
    assert isinstance(content, NotificationContentV1)
    assert (content.content.data, content.token) == ("more than ten octets", device.token)
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    await system.advance(31)
    assert system.events.of("notification.delivered") == []
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1", by="device")


async def test_nobody_else_can_fetch(open_system: OpenSystem) -> None:
    """The content behind a wake-up is for the client that it was addressed to, and only until it
    expires.
    """
    system = await open_system(plugin={"largest_content": 10})
    shop = await system.user()
    device, other = await system.device("scripted:a1"), await system.device()
    await shop.send("n1", device.token, data="more than ten octets", ttl=60)
    item = await system.provider.next_delivery()
    refused = await other.refused("notification.fetch", delivery=item.delivery)
    assert refused.code == "not_found"
    wrong = await device.refused("notification.fetch", delivery=item.delivery, secret=other.secret)
    assert wrong.code == "unauthenticated"
    system.clock.advance(61)
    late = await device.refused("notification.fetch", delivery=item.delivery)
    assert late.code == "expired"


async def test_the_log_says_what_became_of_a_delivery(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """At debug a line for each state names notification, delivery, sender and client, and holds
    neither the token nor the content.
    """
    caplog.set_level(logging.DEBUG, "aoi_events")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    accepted = await shop.send("n1", device.token)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")

    [line] = [
        record.__dict__ for record in caplog.records if record.__dict__.get("state") == "delivered"
    ]
    assert (line["notification"], line["sender"], line["client"]) == ("n1", "shop", device.client)
    assert line["delivery"] == accepted.deliveries[0].delivery
    said = "".join(str(record.__dict__) for record in caplog.records)
    assert device.token not in said
    assert "hello" not in said
