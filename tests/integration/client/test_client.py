"""The AOI Client as a whole, against an AOI Server on a real WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from inspect import signature
from pathlib import Path

import pytest

from aoi_events.channels.websocket.settings import WebSocketSettings
from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    FileStorage,
    MemoryStorage,
    Network,
    Notification,
)
from aoi_events.client.core.events import (
    Activated,
    ClientEvent,
    Connected,
    Disconnected,
    Registered,
)
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import CloseCode, HelloFrame
from aoi_events.contracts.requests import Circumstances
from aoi_events.errors import (
    ApplicationNotRegistered,
    ClientStateError,
    ClientStopped,
    ConfigurationError,
    CouldNotWake,
    RequestRefused,
    RequestTimeout,
)
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush, encode
from aoi_events.testing.scripted_client import ScriptedIdentity, ScriptedNetwork, ScriptedSms
from tests.integration.client.conftest import Device
from tests.integration.client.server import Server, delivery_id
from tests.limits import WITHIN

MAIL = "org.example.mail"
BOTH = (
    ChannelOffer(type="websocket"),
    ChannelOffer(type="sms", parameters={"address": "+15550100"}),
)


class Inbox:
    """An app that keeps what it gets."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[Notification] = asyncio.Queue()

    async def __call__(self, notification: Notification) -> None:
        """Take a notification."""
        self.taken.put_nowait(notification)

    async def next(self) -> Notification:
        """The next notification."""
        async with asyncio.timeout(WITHIN):
            return await self.taken.get()


async def next_event(events: AsyncIterator[ClientEvent], kind: type[ClientEvent]) -> ClientEvent:
    """The next event of that kind."""
    async with asyncio.timeout(WITHIN):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


async def test_registers_activates_and_delivers(server: Server, device: Device) -> None:
    """From nothing to an acknowledged notification, over a real WebSocket."""
    client = await device()
    events = client.events()
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"websocket"})
    assert client.connected
    delivery = await server.notify(1, app.token, "you have mail")
    notification = await inbox.next()
    assert notification.content.data == "you have mail"
    assert (notification.application, notification.notification) == (MAIL, "n-1")
    assert await server.acks(1) == [(delivery, "delivered", "websocket")]
    registered = await next_event(events, Registered)
    assert registered == Registered(client.client_id or "", None)
    await next_event(events, Connected)
    await next_event(events, Activated)


async def test_registers_upon_installation(server: Server, device: Device) -> None:
    """With register_on=install there is an AOI Client ID before any app asks."""
    client = await device(register_on="install")
    await client.until_connected()
    assert await client.until_registered() == client.client_id
    assert server.requests("channel.activate") == []


async def test_sms_is_proved_and_carries_on_when_the_connection_is_gone(
    server: Server, device: Device
) -> None:
    """The challenge comes back; then SMS delivers without a connection, and acks follow later."""
    sms = ScriptedSms()
    network = ScriptedNetwork()
    server.unproved = {"sms"}
    client = await device(sms=sms, network=network, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    await client.until_channels({"websocket", "sms"})
    [confirm] = server.requests("channel.confirm")
    assert confirm.body["code"] == "K3Y9AB"

    network.change(bearer="none")
    await client.until_disconnected()
    push = ContentPush(delivery_id(7), app.fingerprint, Content(data="by radio"))
    sms.receive(*encode(push, transaction_id=2))
    assert (await inbox.next()).channel == "sms"
    network.change(bearer="wifi")
    assert await server.acks(1) == [(delivery_id(7), "delivered", "sms")]
    assert len(server.requests("channel.activate")) == 1


async def test_wake_up_by_sms_is_fetched(server: Server, device: Device) -> None:
    """A wake-up leads to a fetch; what comes back is handled and acknowledged for SMS."""
    sms = ScriptedSms()
    client = await device(sms=sms, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"sms"})
    server.answers["notification.fetch"] = (
        "notification.content.v1",
        {
            "delivery": delivery_id(8),
            "notification": "n-8",
            "token": app.token,
            "content": {"data": "x" * 4000},
            "urgency": "high",
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
    )
    sms.receive(*encode(WakeUpPush(delivery_id(8), app.fingerprint), transaction_id=1))
    assert len((await inbox.next()).content.data) == 4000
    assert await server.acks(1) == [(delivery_id(8), "delivered", "sms")]


async def test_duplicate_reaches_the_app_once(server: Server, device: Device) -> None:
    """The same delivery over both channels is one notification for the app, and two acks."""
    sms = ScriptedSms()
    client = await device(sms=sms, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"sms"})
    await server.notify(1, app.token)
    await inbox.next()
    push = ContentPush(delivery_id(1), app.fingerprint, Content(data="hello"))
    sms.receive(*encode(push, transaction_id=1))
    assert [channel for _, _, channel in await server.acks(2)] == ["websocket", "sms"]
    assert inbox.taken.empty()


async def test_app_that_fails_is_not_acknowledged_as_delivered(
    server: Server, device: Device
) -> None:
    """A handler that raises has not got the notification; the client and other apps go on."""
    client = await device()

    async def broken(_: Notification) -> None:
        raise ValueError("a bug in the app")

    bad = await client.register_application("org.example.bad", broken)
    inbox = Inbox()
    good = await client.register_application(MAIL, inbox)
    first = await server.notify(1, bad.token)
    second = await server.notify(2, good.token)
    acks = {(delivery, code) for delivery, code, _ in await server.acks(2)}
    assert acks == {(first, "could_not_wake"), (second, "delivered")}


def test_an_app_is_given_up_before_its_device_is() -> None:
    """What the library allows an app by default is below what a server by default allows it."""
    parameters = signature(AoiClient).parameters
    assert parameters["handle_within"].default < WebSocketSettings().ack_within


async def test_app_that_hangs_is_given_up(server: Server, device: Device) -> None:
    """A handler that takes too long has not got the notification."""
    client = await device(handle_within=0.05)

    async def hangs(_: Notification) -> None:
        await asyncio.Event().wait()

    app = await client.register_application(MAIL, hangs)
    delivery = await server.notify(1, app.token)
    assert await server.acks(1) == [(delivery, "could_not_wake", "websocket")]


async def test_app_that_stopped_is_woken(server: Server, device: Device) -> None:
    """A stopped app is woken with the notification; when that fails, the ack says so."""
    woken = Inbox()
    asleep = False

    async def wake(notification: Notification) -> None:
        if asleep:
            raise CouldNotWake("no battery for that")
        await woken(notification)

    client = await device(wake=wake)
    app = await client.register_application(MAIL, Inbox())
    await app.stop()
    first = await server.notify(1, app.token)
    assert (await woken.next()).delivery == first
    await server.acks(1)
    asleep = True
    second = await server.notify(2, app.token)
    assert await server.acks(2) == [
        (first, "delivered", "websocket"),
        (second, "could_not_wake", "websocket"),
    ]


async def test_deregistered_app_is_no_such_application(server: Server, device: Device) -> None:
    """After deregistration the token is void here and at the server."""
    client = await device()
    app = await client.register_application(MAIL, Inbox())
    token = app.token
    await app.deregister()
    assert len(server.requests("application.deregister")) == 1
    with pytest.raises(ApplicationNotRegistered):
        _ = app.token
    delivery = await server.notify(1, token)
    assert await server.acks(1) == [(delivery, "no_such_application", "websocket")]


async def test_changed_identity_gives_a_new_id_and_new_tokens(
    server: Server, device: Device
) -> None:
    """Another user: a new AOI Client ID with the old one as proof, and other tokens."""
    identities = ScriptedIdentity()
    client = await device(identities=identities)
    app = await client.register_application(MAIL, Inbox())
    old_id, old_token = client.client_id, app.token
    identities.change("x" * 300)
    identities.change("tel:+15550199")
    assert await client.until_registered(other_than=old_id) != old_id
    assert await app.until_token(other_than=old_token) != old_token
    request = server.requests("client.register")[-1]
    assert request.body["identity"] == "tel:+15550199"
    assert request.body["previous"]["client"] == old_id
    delivery = await server.notify(1, old_token)
    assert (await server.acks(1))[0] == (delivery, "no_such_application", "websocket")


async def test_restart_goes_on_with_what_was_stored(server: Server, device: Device) -> None:
    """The next life of a client has its ID, its token at once, and activates nothing."""
    storage = MemoryStorage()
    network = Network(Circumstances(bearer="wifi"), "192.0.2.1")
    async with await unentered(server, storage, network) as client:
        app = await client.register_application(MAIL, Inbox())
        await client.until_channels({"websocket"})
        first = (client.client_id, app.token)
    async with await unentered(server, storage, network) as client:
        app = await client.register_application(MAIL, Inbox(), timeout=0)
        assert (client.client_id, app.token) == first
        await client.until_connected()
        await server.until(lambda: len(server.requests("application.register")) == 2)
    assert len(server.requests("channel.activate")) == 1
    assert len(server.requests("client.register")) == 1


async def unentered(server: Server, storage: MemoryStorage, network: Network) -> AoiClient:
    """A device that a test starts and stops itself."""
    return AoiClient(
        server.url,
        storage=storage,
        device="phone-1",
        identity="tel:+15550100",
        network=ScriptedNetwork(network),
    )


async def test_reconnects_after_a_lost_connection(server: Server, device: Device) -> None:
    """A connection that ends is made again; nothing is registered or activated anew."""
    client = await device()
    events = client.events()
    await client.register_application(MAIL, Inbox())
    await client.until_channels({"websocket"})
    for code in (CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART, CloseCode.TOO_SLOW):
        await server.close(code)
        ended = await next_event(events, Disconnected)
        assert isinstance(ended, Disconnected)
        assert (ended.code, ended.reconnecting) == (code, True)
        await next_event(events, Connected)
    assert len(server.requests("channel.activate")) == 1
    assert len(server.requests("client.register")) == 1
    assert len(server.sent(HelloFrame)) == 4


async def test_replaced_connection_stays_away_until_told(server: Server, device: Device) -> None:
    """After 4409 the client does not fight for its place: it waits for minutes."""
    client = await device()
    await client.register_application(MAIL, Inbox())
    events = client.events()
    await server.close(CloseCode.REPLACED)
    ended = await next_event(events, Disconnected)
    assert isinstance(ended, Disconnected)
    assert ended.code == CloseCode.REPLACED
    assert server.connections == 1
    await client.reconnect()
    await client.until_connected()
    assert server.connections == 2


@pytest.mark.parametrize("code", [CloseCode.RETIRED, CloseCode.UNAUTHENTICATED])
async def test_retired_client_registers_again(
    server: Server, device: Device, code: CloseCode
) -> None:
    """A client whose ID ended gets another one, and its apps other tokens."""
    client = await device()
    app = await client.register_application(MAIL, Inbox())
    old_id, old_token = client.client_id, app.token
    await server.close(code)
    await client.until_registered(other_than=old_id)
    await app.until_token(other_than=old_token)


async def test_change_of_network_is_a_new_activation(server: Server, device: Device) -> None:
    """Another bearer: a new connection, and the channels offered again with what changed."""
    network = ScriptedNetwork()
    client = await device(network=network)
    await client.register_application(MAIL, Inbox())
    await client.until_channels({"websocket"})
    network.change(bearer="cellular", metered=True, address="198.51.100.7")
    await server.until(lambda: len(server.requests("channel.activate")) == 2)
    body = server.requests("channel.activate")[-1].body
    assert body["circumstances"] == {"bearer": "cellular", "metered": True}
    assert server.connections == 2
    await client.set_offers((ChannelOffer(type="websocket", preference=90),))
    await server.until(lambda: len(server.requests("channel.activate")) == 3)


async def test_unanswered_requests_are_repeated(server: Server, device: Device) -> None:
    """A server that forgets to answer is asked again, until it does."""
    server.mute = {"client.register"}
    client = await device(answer_within=0.1)
    with pytest.raises(RequestTimeout):
        await client.register_application(MAIL, Inbox(), timeout=0.05)
    await server.until(lambda: len(server.requests("client.register")) >= 3)
    hashes = {request.body["secret_hash"] for request in server.requests("client.register")}
    assert len(hashes) == 1
    server.mute = {"application.register"}
    await server.until(lambda: len(server.requests("application.register")) >= 2)
    server.mute = set()
    await client.register_application(MAIL, Inbox())


async def test_refused_application_raises(server: Server, device: Device) -> None:
    """Whoever registers an app learns that the server refused, with the stable code."""
    server.answers["application.register"] = (
        "refused.v1",
        {"code": "quota_exceeded", "message": "too many apps"},
    )
    client = await device()
    with pytest.raises(RequestRefused) as caught:
        await client.register_application(MAIL, Inbox())
    assert caught.value.code == "quota_exceeded"


async def test_wrong_names_and_settings_are_refused(device: Device) -> None:
    """What cannot work is said at once, and says what to do."""
    client = await device()
    with pytest.raises(ConfigurationError, match="application"):
        await client.register_application("not a name", Inbox())
    with pytest.raises(ConfigurationError, match="instance"):
        await client.register_application(MAIL, Inbox(), instance="a/b")
    with pytest.raises(ConfigurationError, match="sms="):
        await client.set_offers(BOTH)
    with pytest.raises(ConfigurationError, match="ws://"):
        AoiClient("http://example.org", storage=MemoryStorage(), device="d", identity="i")
    with pytest.raises(ConfigurationError, match="identity"):
        AoiClient("ws://example.org", storage=MemoryStorage(), device="d")
    with pytest.raises(ConfigurationError, match="once"):
        await client.set_offers((ChannelOffer(type="a"), ChannelOffer(type="a")))


async def test_storage_that_fails_stops_the_client(server: Server) -> None:
    """Nothing goes out that could not be stored; whoever waits learns why."""

    class Full(MemoryStorage):
        async def save(self, data: bytes) -> None:
            raise ClientStateError("cannot write: no space left on device")

    async def use() -> None:
        client = AoiClient(server.url, storage=Full(), device="phone-1", identity="tel:+15550100")
        async with client:
            with pytest.raises(ClientStopped, match="no space left"):
                await client.register_application(MAIL, Inbox())
            with pytest.raises(ClientStopped):
                await client.until_connected()

    with pytest.raises(ClientStateError, match="no space left"):
        await use()
    assert server.frames == []


async def test_events_end_with_the_client(server: Server) -> None:
    """The stream of events ends when the client does, and so does a new one."""
    client = AoiClient(
        server.url, storage=MemoryStorage(), device="phone-1", identity="tel:+15550100"
    )
    async with client:
        events = client.events()
        await client.register_application(MAIL, Inbox())
    seen = [type(event).__name__ async for event in events]
    assert "ApplicationRegistered" in seen
    assert [event async for event in client.events()] == []


async def test_secrets_and_tokens_are_not_logged(
    server: Server, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client logs, at the lowest level, shows no secret, token, code or content."""
    caplog.set_level(logging.DEBUG)
    storage = MemoryStorage()
    sms = ScriptedSms()
    server.unproved = {"sms"}
    client = await device(storage=storage, sms=sms, offers=BOTH)

    async def broken(_: Notification) -> None:
        raise ValueError("a bug in the app")

    app = await client.register_application(MAIL, broken)
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    await client.until_channels({"sms"})
    await server.notify(1, app.token, "private words")
    await server.acks(1)
    # With tracebacks, as handlers print them, and with every field.
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert "NotificationReceived" in text
    secret = server.sent(HelloFrame)[0].secret
    for hidden in (secret, app.token, "K3Y9AB", "private words", "+15550100"):
        assert hidden not in text


async def test_a_server_that_fails_is_logged_without_secrets(
    server: Server, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not answer, refuses with what it was sent, or sends frames that cannot be
    read, brings no secret, token, code or content into the log.
    """
    caplog.set_level(logging.DEBUG)
    sms = ScriptedSms()
    server.unproved = {"sms"}
    server.mute = {"channel.confirm"}
    client = await device(sms=sms, offers=BOTH, answer_within=0.1)
    app = await client.register_application(MAIL, Inbox())
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    secret = server.sent(HelloFrame)[0].secret
    await server.until(lambda: len(server.requests("channel.confirm")) > 1)
    server.mute.clear()
    await client.until_channels({"sms"})
    for wrong in ({"type": "notification", "token": app.token, "content": "private words"}, secret):
        await client.until_connected()
        await server.send_text(json.dumps(wrong))
        await client.until_disconnected()
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert "cannot be read" in text
    hidden = (secret, app.token, "K3Y9AB", "private words", "+15550100")
    assert [each for each in hidden if each in text] == []


async def test_file_holds_everything(device: Device, tmp_path: Path) -> None:
    """With the file as storage the next life goes on as with memory."""
    path = tmp_path / "state.json"
    client = await device(storage=FileStorage(path))
    app = await client.register_application(MAIL, Inbox())
    assert app.token.encode() in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
