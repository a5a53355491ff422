from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from aoi_events.broker.memory import MemoryServer
from aoi_events.broker.memory.broker import MemoryBroker
from aoi_events.contracts.answers import (
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientDeregisteredV1,
    ClientRegisteredV1,
    NotificationContentV1,
    RefusedV1,
)
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Urgency
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    AnyRequest,
    ChannelOffer,
    ConfirmChannelV1,
    DeactivateChannelsV1,
    DeregisterApplicationV1,
    DeregisterClientV1,
    FetchNotificationV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.errors import RequestRefused, RequestTimeout
from aoi_events.publishing import DeviceRequests
from aoi_events.topology import topology
from tests.unit.publishing.responder import Responder

CLIENT = "cli_" + "a" * 26
DELIVERY = "dlv_" + "a" * 26
SECRET = "s" * 43
ACTIVATED = ChannelsActivatedV1(sequence=1, selected=())

Case = tuple[Callable[[DeviceRequests], Awaitable[AnyAnswer]], str, AnyRequest, AnyAnswer]


def cases() -> list[Case]:
    """Every method with the routing key that it uses, its request and its answer."""
    register = RegisterClientV1(version=1, device="d", identity="+30694", secret_hash="0" * 64)
    deregister = DeregisterClientV1(version=1, client=CLIENT, secret=SECRET)
    app = RegisterApplicationV1(
        version=1, client=CLIENT, secret=SECRET, application="com.example", sequence=1
    )
    no_app = DeregisterApplicationV1(
        version=1, client=CLIENT, secret=SECRET, application="com.example", sequence=2
    )
    activate = ActivateChannelsV1(
        version=1,
        client=CLIENT,
        secret=SECRET,
        sequence=1,
        offers=(ChannelOffer(type="sms", parameters={"msisdn": "+30694"}),),
    )
    confirm = ConfirmChannelV1(
        version=1, client=CLIENT, secret=SECRET, channel="sms", code="ABC123"
    )
    deactivate = DeactivateChannelsV1(version=1, client=CLIENT, secret=SECRET, sequence=2)
    fetch = FetchNotificationV1(version=1, client=CLIENT, secret=SECRET, delivery=DELIVERY)
    content = NotificationContentV1(
        delivery=DELIVERY,
        notification="n1",
        token="token-of-an-app",
        content=Content(data="hello"),
        urgency=Urgency.NORMAL,
        expires_at=datetime.now(UTC),
    )
    return [
        (
            lambda d: d.register(register),
            "client.register",
            register,
            ClientRegisteredV1(client=CLIENT),
        ),
        (
            lambda d: d.deregister(deregister),
            "client.deregister",
            deregister,
            ClientDeregisteredV1(client=CLIENT),
        ),
        (
            lambda d: d.register_application(app),
            "application.register",
            app,
            ApplicationRegisteredV1(token="token-of-an-app", sequence=1),
        ),
        (
            lambda d: d.deregister_application(no_app),
            "application.deregister",
            no_app,
            ApplicationDeregisteredV1(sequence=2),
        ),
        (lambda d: d.activate_channels(activate), "channel.activate", activate, ACTIVATED),
        (lambda d: d.confirm_channel(confirm), "channel.confirm", confirm, ACTIVATED),
        (lambda d: d.deactivate_channels(deactivate), "channel.deactivate", deactivate, ACTIVATED),
        (lambda d: d.fetch(fetch), "notification.fetch", fetch, content),
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case[1])
async def test_each_method_asks_and_answers_in_contracts(
    case: Case, responder: Responder, broker: MemoryBroker
) -> None:
    """A device's request goes out under its routing key, and its answer comes back typed."""
    call, routing_key, request, answer = case
    responder.script.append(lambda _: answer)
    async with DeviceRequests(broker) as devices:
        assert await call(devices) == answer
    ((asked, message),) = responder.asked
    assert asked == request
    assert message.routing_key == routing_key


async def test_a_refused_device_hears_the_code(responder: Responder, server: MemoryServer) -> None:
    """A refusal reaches the device's side as a typed error."""
    responder.script.append(lambda _: RefusedV1(code="unauthenticated", message="no"))
    devices = await DeviceRequests.connect(MemoryBroker(server, user="fleet"), timeout=5)
    with pytest.raises(RequestRefused, match="unauthenticated"):
        await devices.deregister(DeregisterClientV1(version=1, client=CLIENT, secret=SECRET))
    await devices.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case[1])
async def test_silence_is_told_without_secrets(
    case: Case, server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When nobody answers, the error names the request, and neither it nor the log shows what was
    asked.
    """
    caplog.set_level(logging.DEBUG)
    call, routing_key, request, _ = case
    broker = MemoryBroker(server, user="fleet")
    await broker.declare(topology())
    async with DeviceRequests(broker, timeout=0.01) as devices:
        with pytest.raises(RequestTimeout, match=routing_key) as silent:
            await call(devices)
    await broker.close()
    told = caplog.text + repr([vars(record) for record in caplog.records]) + repr(silent.value)
    sent = request.model_dump(exclude={"channel"}).values()
    assert [each for each in sent if isinstance(each, str) and len(each) > 3 and each in told] == []
