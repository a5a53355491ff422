"""Restarts and new connections: what is stored is used again, and a new network is reported."""

from __future__ import annotations

from pathlib import Path

from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    FileStorage,
    MemoryStorage,
    Network,
)
from aoi_events.client.core.events import (
    Connected,
    Disconnected,
)
from aoi_events.contracts.device import CloseCode, HelloFrame
from aoi_events.contracts.requests import Circumstances
from aoi_events.testing.scripted_client import ScriptedNetwork
from tests.integration.client.apps import MAIL, Inbox, next_event
from tests.integration.client.conftest import StartDevice
from tests.support.scripted_server import ScriptedServer


async def test_restart_goes_on_with_what_was_stored(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """After a restart the client has its ID and its token at once, and activates nothing."""
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


async def unentered(server: ScriptedServer, storage: MemoryStorage, network: Network) -> AoiClient:
    """A device that a test starts and stops itself."""
    return AoiClient(
        server.url,
        storage=storage,
        device="phone-1",
        identity="tel:+15550100",
        network=ScriptedNetwork(network),
    )


async def test_file_holds_everything(start_device: StartDevice, tmp_path: Path) -> None:
    """The file contains the token, and has mode 0600."""
    path = tmp_path / "state.json"
    client = await start_device(storage=FileStorage(path))
    app = await client.register_application(MAIL, Inbox())
    assert app.token.encode() in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_reconnects_after_a_lost_connection(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A connection that ends is made again; nothing is registered or activated anew."""
    client = await start_device()
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


async def test_replaced_connection_stays_away_until_told(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """After code 4409 the client waits for minutes before it connects again."""
    client = await start_device()
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


async def test_change_of_network_is_a_new_activation(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """Another bearer: a new connection, and the channels offered again with what changed."""
    network = ScriptedNetwork()
    client = await start_device(network=network)
    await client.register_application(MAIL, Inbox())
    await client.until_channels({"websocket"})
    network.change(bearer="cellular", metered=True, address="198.51.100.7")
    await server.until(lambda: len(server.requests("channel.activate")) == 2)
    body = server.requests("channel.activate")[-1].body
    assert body["circumstances"] == {"bearer": "cellular", "metered": True}
    assert server.connections == 2
    await client.set_offers((ChannelOffer(type="websocket", preference=90),))
    await server.until(lambda: len(server.requests("channel.activate")) == 3)
