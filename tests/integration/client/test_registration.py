"""Registration of the client and its apps, against an AOI Server on a real WebSocket."""

from __future__ import annotations

from typing import Any

import pytest

from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    MemoryStorage,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.errors import (
    ApplicationNotRegistered,
    ConfigurationError,
    RequestRefused,
    RequestTimeout,
)
from aoi_events.testing.scripted_client import Script
from tests.integration.client.apps import BOTH, MAIL, Inbox
from tests.integration.client.conftest import StartDevice
from tests.support.scripted_server import ScriptedServer


async def test_registers_upon_installation(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """With register_on=install there is an AOI Client ID before any app asks."""
    client = await start_device(register_on="install")
    await client.until_connected()
    assert await client.until_registered() == client.client_id
    assert server.requests("channel.activate") == []


async def test_deregistered_app_is_no_such_application(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """After deregistration the token is void here and at the server."""
    client = await start_device()
    app = await client.register_application(MAIL, Inbox())
    token = app.token
    await app.deregister()
    assert len(server.requests("application.deregister")) == 1
    with pytest.raises(ApplicationNotRegistered):
        _ = app.token
    delivery = await server.notify(1, token)
    assert await server.acks(1) == [(delivery, "no_such_application", "websocket")]


async def test_changed_identity_gives_a_new_id_and_new_tokens(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """Another user: a new AOI Client ID with the old one as proof, and other tokens."""
    identities = Script[str]()
    client = await start_device(identities=identities)
    app = await client.register_application(MAIL, Inbox())
    old_id, old_token = client.client_id, app.token
    identities.put("x" * 300)
    identities.put("tel:+15550199")
    assert await client.until_registered(other_than=old_id) != old_id
    assert await app.until_token(other_than=old_token) != old_token
    request = server.requests("client.register")[-1]
    assert request.body["identity"] == "tel:+15550199"
    assert request.body["previous"]["client"] == old_id
    delivery = await server.notify(1, old_token)
    assert (await server.acks(1))[0] == (delivery, "no_such_application", "websocket")


@pytest.mark.parametrize("code", [CloseCode.RETIRED, CloseCode.UNAUTHENTICATED])
async def test_retired_client_registers_again(
    server: ScriptedServer, start_device: StartDevice, code: CloseCode
) -> None:
    """A client whose ID ended gets another one, and its apps other tokens."""
    client = await start_device()
    app = await client.register_application(MAIL, Inbox())
    old_id, old_token = client.client_id, app.token
    await server.close(code)
    await client.until_registered(other_than=old_id)
    await app.until_token(other_than=old_token)


async def test_unanswered_requests_are_repeated(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A request without an answer is repeated until it is answered."""
    server.mute = {"client.register"}
    client = await start_device(answer_within=0.1)
    with pytest.raises(RequestTimeout):
        await client.register_application(MAIL, Inbox(), timeout=0.05)
    await server.until(lambda: len(server.requests("client.register")) >= 3)
    hashes = {request.body["secret_hash"] for request in server.requests("client.register")}
    assert len(hashes) == 1
    server.mute = {"application.register"}
    await server.until(lambda: len(server.requests("application.register")) >= 2)
    server.mute = set()
    await client.register_application(MAIL, Inbox())


async def test_refused_application_raises(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A refused registration raises RequestRefused with the stable code."""
    server.answers["application.register"] = (
        "refused.v1",
        {"code": "quota_exceeded", "message": "too many apps"},
    )
    client = await start_device()
    with pytest.raises(RequestRefused) as caught:
        await client.register_application(MAIL, Inbox())
    assert caught.value.code == "quota_exceeded"


async def test_wrong_names_and_settings_are_refused(start_device: StartDevice) -> None:
    """Invalid arguments raise ConfigurationError, which names the argument."""
    client = await start_device()
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


async def test_nothing_is_no_name(start_device: StartDevice) -> None:
    """None, which an unset variable gives, is refused before anything of it is stored."""
    nothing: Any = None
    client = await start_device()
    with pytest.raises(ConfigurationError, match="application: must be text"):
        await client.register_application(nothing, Inbox())
    with pytest.raises(ConfigurationError, match="instance: must be text"):
        await client.register_application(MAIL, Inbox(), instance=nothing)
    with pytest.raises(ConfigurationError, match="identity: must be text"):
        await client.set_identity(nothing)
    with pytest.raises(ConfigurationError, match="device: must be text"):
        AoiClient("ws://example.org", storage=MemoryStorage(), device=nothing, identity="i")
