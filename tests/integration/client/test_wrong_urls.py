"""A wrong host, path, port or scheme: one warning, `trouble`, and the time limit say so."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from aoi_events.client import AoiClient, MemoryStorage, ReconnectPolicy
from aoi_events.client.core.events import Disconnected
from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.errors import ConfigurationError, ConnectionLost, RequestTimeout
from tests.integration.client.apps import MAIL, Inbox, next_event
from tests.support.certificates import self_signed
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
async def tls(tmp_path: Path) -> AsyncIterator[str]:
    """The authority part of the URL of a server with TLS, whose certificate is not trusted."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(tmp_path))

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def wrong_url(request: pytest.FixtureRequest, server: ScriptedServer, tls: str) -> str:
    """A URL that is wrong in one part."""
    return str(request.param).format(server=server.url.removeprefix("ws://"), tls=tls)


WRONG = [
    ("ws://{server}wrong", "answers with HTTP status 404; check the port and the path"),
    ("wss://{server}", "check the scheme"),
    ("ws://{tls}/", "check the scheme"),
    ("wss://{tls}/", "check the host, or the certificates to trust"),
    ("ws://127.0.0.1:1/", "check the host and the port"),
    ("ws://no-such-host.invalid/aoi", "no-such-host.invalid"),
]


@pytest.mark.parametrize("wrong_url, advice", WRONG, indirect=["wrong_url"])
async def test_wrong_url_is_reported(
    wrong_url: str, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of a call that waits, `trouble` and one warning name the part to check."""
    caplog.set_level(logging.WARNING)
    client = AoiClient(
        wrong_url,
        storage=MemoryStorage(),
        device="phone-1",
        identity="tel:+15550100",
        reconnect_policy=ReconnectPolicy(first=0.01, most=0.01),
    )
    events = client.events()
    async with client:
        registering = asyncio.create_task(client.register_application(MAIL, Inbox(), timeout=None))
        for _ in range(3):
            ended = await next_event(events, Disconnected)
            assert isinstance(ended, Disconnected)
            assert not ended.opened
        registering.cancel()
        with pytest.raises(RequestTimeout, match="last trouble: ") as caught:
            await client.register_application(MAIL, Inbox(), timeout=0.01)
        trouble = client.trouble or ""
    assert advice in trouble
    assert advice in str(caught.value)
    warnings = [record for record in caplog.records if record.msg == "cannot_connect"]
    reasons = [record.__dict__["reason"] for record in warnings]
    assert reasons[-1] == trouble
    assert all(before != after for before, after in pairwise(reasons)), "one warning is enough"


async def test_lost_connection_is_no_warning(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that was open and ended is part of a device's day."""
    caplog.set_level(logging.WARNING)
    client = AoiClient(
        server.url,
        storage=MemoryStorage(),
        device="phone-1",
        identity="tel:+15550100",
        reconnect_policy=ReconnectPolicy(first=0.01, most=0.01),
    )
    events = client.events()
    async with client:
        await client.register_application(MAIL, Inbox())
        await server.close(1001)
        ended = await next_event(events, Disconnected)
        assert isinstance(ended, Disconnected)
        assert ended.opened
        await client.until_connected()
        assert client.trouble is None
    assert [record for record in caplog.records if record.name.startswith("aoi_events")] == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "ws://",
        "ws:///aoi",
        "ws://HOST:0/",
        "ws://h:99999/",
        "ws://[::1/",
        "ws://a..b/",
    ],
)
def test_url_that_cannot_work_is_refused(url: str) -> None:
    """A URL without a WebSocket scheme, a host or a port that can be used is refused at once."""
    with pytest.raises(ConfigurationError, match="wss://HOST/PATH"):
        WebSocketTransport(url)


@pytest.mark.parametrize("path", ["wrong", ""])
async def test_secrets_in_a_url_are_not_shown(server: ScriptedServer, path: str) -> None:
    """User, password and query reach the server; no error repeats them."""
    authority = server.url.removeprefix("ws://").removesuffix("/")
    scheme = "ws" if path else "https"
    url = f"{scheme}://aoi:hidden@{authority}/{path}?key=hidden"
    with pytest.raises((ConnectionLost, ConfigurationError)) as refused:
        await WebSocketTransport(url).connect()
    assert f"{scheme}://{authority}/{path}" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_scheme_and_host_in_capitals_are_taken() -> None:
    """RFC 3986, section 3.1: schemes are case-insensitive."""
    WebSocketTransport("WSS://PUSH.EXAMPLE.ORG/aoi")
