"""``notification.fetch``: whose content is handed out behind a wake-up, and until when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from aoi_events.contracts.answers import AnyAnswer, NotificationContentV1, RefusedV1
from aoi_events.contracts.envelopes import DeliverItem, OutcomeKind
from aoi_events.contracts.requests import CLIENT_HEADER
from tests.integration.services.conftest import OpenSystem
from tests.support.actors import Device
from tests.support.system import GATEWAY, System

LONG = "more than ten octets"
KEY = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
"""A point of P-256."""

Ask = Callable[[System, Device, str], Awaitable[AnyAnswer]]
End = Callable[[System, Device, DeliverItem], Awaitable[None]]


@pytest.fixture
async def system(open_system: OpenSystem) -> System:
    """An installation whose connectionless channel carries wake-ups only."""
    return await open_system(plugin={"largest_content": 10})


async def with_the_secret(system: System, device: Device, delivery: str) -> AnyAnswer:
    """Over the broker, with the client's secret."""
    return await device.ask("notification.fetch", delivery=delivery)


async def of_session(system: System, device: Device, **body: str) -> AnyAnswer:
    """What a gateway passes on in the session of the device."""
    gateway = await system.user(GATEWAY)
    return await gateway.ask("notification.fetch", headers={CLIENT_HEADER: device.client}, **body)


async def over_the_session(system: System, device: Device, delivery: str) -> AnyAnswer:
    """Without a secret, in the client's own session."""
    return await of_session(system, device, client=device.client, delivery=delivery)


async def cancel(system: System, device: Device, item: DeliverItem) -> None:
    """The sender withdraws it."""
    await (await system.user()).ask("notification.cancel", notification=item.notification)


async def replace(system: System, device: Device, item: DeliverItem) -> None:
    """A newer one of the same topic is accepted."""
    await (await system.user()).send("n2", device.token, data=LONG, topic="score")


async def fail(system: System, device: Device, item: DeliverItem) -> None:
    """The device threw it away; the app's token stays."""
    await (await system.node()).report(item, OutcomeKind.DISCARDED)
    await system.events.wait_for("notification.failed", notification=item.notification)


async def expire(system: System, device: Device, item: DeliverItem) -> None:
    """Let its time pass to the very moment, while no worker has processed it since."""
    system.clock.advance((item.expires_at - system.clock.now()).total_seconds())


async def revoke(system: System, device: Device, item: DeliverItem) -> None:
    """End the app's token, while no worker has processed the delivery since."""
    await device.ask("application.deregister", application="org.mail", sequence=device.next())


async def register_anew(system: System, device: Device, item: DeliverItem) -> None:
    """The app has another token than the one that it was sent to."""
    await revoke(system, device, item)
    await device.register_app()


async def bind(system: System, device: Device, item: DeliverItem) -> None:
    """The app binds itself to a sender, and so has another token."""
    await device.register_app(sender_key=KEY)


async def wake(system: System, device: Device) -> DeliverItem:
    """A wake-up for a notification that expires in a minute."""
    await (await system.user()).send("n1", device.token, data=LONG, ttl=60, topic="score")
    item = await system.provider.next_delivery()
    assert item.wake_up
    return item


@pytest.mark.parametrize("ask", [with_the_secret, over_the_session])
@pytest.mark.parametrize("end", [cancel, replace, fail, expire, revoke, register_anew, bind])
async def test_what_ended_is_not_handed_out(system: System, ask: Ask, end: End) -> None:
    """Content that was withdrawn, replaced or refused, that has expired, or was sent to a token
    that ended, reaches no device any more, however it asks.
    """
    device = await system.device("scripted:a1")
    item = await wake(system, device)
    assert isinstance(await ask(system, device, item.delivery), NotificationContentV1)
    await end(system, device, item)
    refused = await ask(system, device, item.delivery)
    assert isinstance(refused, RefusedV1), refused
    assert refused.code == "expired"
    assert LONG not in refused.message


@pytest.mark.parametrize("ask", [with_the_secret, over_the_session])
async def test_a_retired_client_fetches_nothing(system: System, ask: Ask) -> None:
    """Who was registered before reads nothing once the client was retired."""
    device = await system.device("scripted:a1")
    item = await wake(system, device)
    await device.ask("client.deregister")
    refused = await ask(system, device, item.delivery)
    assert isinstance(refused, RefusedV1), refused
    assert refused.code == "client_retired"


async def test_a_session_fetches_for_its_own_client_only(system: System) -> None:
    """A gateway's session neither names another client nor reads its deliveries."""
    device, other = await system.device("scripted:a1"), await system.device("websocket")
    item = await wake(system, device)
    not_found = await over_the_session(system, other, item.delivery)
    assert getattr(not_found, "code", None) == "not_found"
    refused = await of_session(system, other, client=device.client, delivery=item.delivery)
    assert getattr(refused, "code", None) == "not_allowed"


async def test_what_was_delivered_is_handed_out_again(system: System) -> None:
    """A device that lost the answer fetches the same again, also after it acknowledged the
    notification.
    """
    node = await system.node()
    device = await system.device("scripted:a1")
    item = await wake(system, device)
    first = await with_the_secret(system, device, item.delivery)
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1")
    assert await with_the_secret(system, device, item.delivery) == first


async def test_each_delivery_has_its_own_content_and_token(system: System) -> None:
    """Of two senders with one notification ID, and of two apps of one client, each delivery leads
    to what its sender sent to its app.
    """
    shop, bank = await system.user("shop"), await system.user("bank")
    device = await system.device("scripted:a1", apps=("org.mail", "org.chat"))
    sent = [
        (await sender.send("n1", token, data=f"{name} sends this to {app}")).deliveries[0].delivery
        for name, sender, app, token in (
            ("shop", shop, "org.mail", device.tokens["org.mail"]),
            ("bank", bank, "org.chat", device.tokens["org.chat"]),
        )
    ]
    found = [await with_the_secret(system, device, delivery) for delivery in sent]
    contents = [each for each in found if isinstance(each, NotificationContentV1)]
    assert [(each.content.data, each.token) for each in contents] == [
        ("shop sends this to org.mail", device.tokens["org.mail"]),
        ("bank sends this to org.chat", device.tokens["org.chat"]),
    ]
    assert [each.delivery for each in contents] == sent
