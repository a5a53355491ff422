"""The connection of an AOI Client through an HTTP proxy."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.contracts.device import AnswerFrame, RequestFrame
from aoi_events.daemon.daemon import run_until
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.settings import ClientSettings
from aoi_events.errors import ConfigurationError, ConnectionLost
from aoi_events.testing.ports import free_port
from tests.support.certificates import self_signed
from tests.support.connect_proxy import ConnectProxy
from tests.support.scripted_server import ScriptedServer

REGISTER = RequestFrame(id=1, name="client.register", body={"secret_hash": "0" * 64})
CREDENTIALS = "aoi:swordfish"


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    """A proxy that wants a user name and a password."""
    async with ConnectProxy(CREDENTIALS) as proxy:
        yield proxy


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The server's, with its key."""
    return self_signed(tmp_path)


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[ScriptedServer]:
    """An AOI Server with TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = ScriptedServer(tls=tls)
    await server.start()
    yield server
    await server.stop()


async def test_wss_goes_through_a_tunnel(
    secure: ScriptedServer, proxy: ConnectProxy, certificate: Path
) -> None:
    """TLS is with the gateway, and the proxy sees its host and port only."""
    trusting = ssl.create_default_context(cafile=certificate)
    transport = WebSocketTransport(secure.url, tls=trusting, proxy=proxy.url(CREDENTIALS))
    connection = await transport.connect()
    await connection.send(REGISTER)
    assert isinstance(await connection.receive(), AnswerFrame)
    await connection.close()
    assert [f"wss://{asked}/" for asked in proxy.asked] == [secure.url]
    with pytest.raises(ConnectionLost, match="check the host, or the certificates"):
        await WebSocketTransport(secure.url, proxy=proxy.url(CREDENTIALS)).connect()


async def test_the_daemon_uses_its_proxy(
    secure: ScriptedServer, proxy: ConnectProxy, certificate: Path, tmp_path: Path
) -> None:
    """The daemon's setting is for its connection to the gateway."""
    settings = ClientSettings.model_validate(
        {
            "url": secure.url,
            "ca_file": certificate,
            "proxy": proxy.url(CREDENTIALS),
            "identity": "tel:+15550100",
            "register_on": "install",
            "network": "unwatched",
            "state": tmp_path / "state",
            "socket": tmp_path / "sock" / "aoi.sock",
        }
    )
    stop = asyncio.Event()
    running = asyncio.create_task(
        run_until(stop, settings, Launcher(within=settings.wake_within, at_once=1))
    )
    await secure.until(lambda: bool(secure.frames))
    stop.set()
    assert await running
    assert [f"wss://{asked}/" for asked in proxy.asked] == [secure.url]


@pytest.mark.parametrize(
    "status, advice",
    [(None, "check the"), (403, "the proxy answers with HTTP status 403"), (502, "status 502")],
)
async def test_a_refusal_of_the_proxy_is_reported(
    proxy: ConnectProxy, status: int | None, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the proxy and what to check, and no password."""
    caplog.set_level(logging.DEBUG)
    proxy.refusal = status
    transport = WebSocketTransport(
        "wss://push.example.org/aoi",
        proxy=proxy.url("aoi:hunter2" if status is None else CREDENTIALS),
    )
    with pytest.raises(ConnectionLost, match=advice) as caught:
        await transport.connect()
    assert "proxy" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caplog.text


async def test_a_proxy_that_is_away_is_reported() -> None:
    """The error names the proxy, and not the gateway."""
    port = free_port()
    away = f"http://aoi:hunter2@127.0.0.1:{port}"
    with pytest.raises(ConnectionLost, match="the host and the port of the proxy") as caught:
        await WebSocketTransport("wss://push.example.org/aoi", proxy=away).connect()
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_the_environment_names_no_proxy(
    server: ScriptedServer, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and its kind are for other programs."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy.url(CREDENTIALS))
    await (await WebSocketTransport(server.url).connect()).close()
    assert proxy.asked == []


def test_other_proxies_are_refused() -> None:
    """The error says what can be used, and never repeats a password."""
    with pytest.raises(ConfigurationError, match="http://HOST:PORT") as caught:
        WebSocketTransport("wss://push.example.org/aoi", proxy="socks5://aoi:hunter2@proxy")
    assert "hunter2" not in str(caught.value)
