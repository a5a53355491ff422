"""Requests of the webhook and Web Push workers through an HTTP proxy."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.channels.base.http.client import HttpAnswer, NoAnswer
from aoi_events.channels.base.http.urls import BadUrl, checked_url
from aoi_events.testing import AoiServer
from aoi_events.testing.ports import free_port
from tests.integration.http.conftest import MakeDevice
from tests.integration.http.test_client import Names, Serve, client_of, server_of, settings
from tests.integration.http.test_webhooks import proved
from tests.support.certificates import self_signed
from tests.support.connect_proxy import ConnectProxy
from tests.support.receivers import Receiver, Reply

SECRET = "hunter:2/3"
QUOTED = "aoi:hunter%3A2%2F3"
NOWHERE: list[str] = []


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    """A proxy that wants a user name and a password."""
    async with ConnectProxy(f"aoi:{SECRET}") as proxy:
        yield proxy


@pytest.fixture
def aoi_settings(aoi_settings: Mapping[str, Any], proxy: ConnectProxy) -> Mapping[str, Any]:
    """A server whose webhooks go through the proxy."""
    channels = aoi_settings["channels"]
    webhook = {**channels["webhook"], "proxy": proxy.url(QUOTED)}
    return {**aoi_settings, "channels": {**channels, "webhook": webhook}}


async def test_a_webhook_is_proved_and_reached_through_the_proxy(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    proxy: ConnectProxy,
) -> None:
    """Challenge and notification take the way that the channel's setting names."""
    phone = await make_device()
    await proved(phone, receiver)
    await shop.send(phone.token, "Gate B7")
    assert b"Gate B7" in (await receiver.next(1)).body
    assert set(proxy.asked) == {receiver.url("/hook")}


async def test_https_goes_through_a_tunnel(proxy: ConnectProxy, tmp_path: Path) -> None:
    """TLS is with the receiver, whose certificate is verified, and the proxy sees a host and a
    port; it may be at a private address.
    """
    certificate = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    through: dict[str, Any] = {"proxy": proxy.url(QUOTED), "networks": NOWHERE}
    async with Receiver(tls=tls) as receiver:
        async with client_of(ca_file=certificate, **through) as client:
            for _ in range(2):
                assert await client.post(receiver.url("/a"), b"x", {}) == HttpAnswer(201, None)
        async with client_of(**through) as client:
            answer = await client.post(receiver.url("/b"), b"x", {})
    assert proxy.asked == [f"127.0.0.1:{receiver.port}"] * 2
    assert [(got.path, "Proxy-Authorization" in got.headers) for got in receiver.got] == [
        ("/a", False)
    ] * 2
    assert answer == NoAnswer("no TLS there that can be verified", host_works=False)


async def test_the_proxy_looks_names_up(proxy: ConnectProxy) -> None:
    """The worker looks up no name of a receiver, which it may not be able to do behind a proxy."""
    names = Names("192.0.2.1")
    async with Receiver() as receiver, client_of(names, proxy=proxy.url(QUOTED)) as client:
        url = f"http://push.example.org:{receiver.port}/hook"
        assert await client.post(url, b"x", {}) == HttpAnswer(201, None)
    assert proxy.asked == [url]
    assert receiver.got[0].path == "/hook"
    assert names.asked == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_wrong_credentials_are_the_operators_fault(
    proxy: ConnectProxy, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They say nothing of the receiver; one warning, and no log line with a password."""
    caplog.set_level(logging.DEBUG)
    wrong = proxy.url("aoi:swordfish")
    async with Receiver() as receiver, client_of(proxy=wrong, networks=NOWHERE) as client:
        for _ in range(2):
            answer = await client.post(f"{scheme}://127.0.0.1:{receiver.port}/", b"x", {})
            assert answer == NoAnswer("the proxy refuses our user name and password")
    (warning,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert warning.getMessage() == "proxy_failed"
    assert "swordfish" not in caplog.text
    assert receiver.got == []


@pytest.mark.parametrize(
    "status, expected",
    [
        (403, NoAnswer("the proxy does not permit its address", forbidden=True)),
        (502, NoAnswer("the proxy cannot reach it (status 502)", host_works=False)),
        (504, NoAnswer("the proxy cannot reach it (status 504)", host_works=False)),
        (503, NoAnswer("the proxy cannot reach it (status 503)")),
        (405, NoAnswer("the proxy permits no tunnels (status 405)")),
    ],
)
async def test_a_proxy_may_refuse(proxy: ConnectProxy, status: int, expected: NoAnswer) -> None:
    """An address that the proxy does not permit is as one that we do not permit; only 502 and 504
    speak for the receiver's host.
    """
    proxy.refusal = status
    async with client_of(proxy=proxy.url(QUOTED)) as client:
        assert await client.post("https://push.example.org/", b"x", {}) == expected


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read, and answer nothing."""
    await reader.read(-1)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close when the request is there."""
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def speaks_smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer in another protocol."""
    writer.write(b"220 mail.example.org ESMTP\r\n")
    await reader.read(-1)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "serve, why",
    [
        (None, "it cannot be reached"),
        (hangs, "no answer within 1 s"),
        (resets, "the connection was lost"),
        (speaks_smtp, "an answer that is no HTTP, or too large"),
    ],
)
async def test_a_proxy_that_fails_is_the_operators_fault(
    serve: Serve | None, why: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and neither a receiver nor its host is blamed, so that no breaker opens."""
    async with server_of(serve or hangs) as there:
        proxy = there if serve else f"http://127.0.0.1:{free_port()}"
        async with client_of(proxy=proxy, networks=NOWHERE) as client:
            for _ in range(2):
                answer = await client.post(f"{scheme}://push.example.org/", b"x", {})
                assert answer == NoAnswer(f"the proxy fails: {why}")
    (warning,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert warning.getMessage() == "proxy_failed"


async def test_a_proxy_that_does_not_accept_is_left_soon() -> None:
    """Connecting to the proxy takes half the time of a request at most."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with ExitStack() as queue:
            for _ in range(8):  # more than wait in its queue
                waiting = queue.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            async with client_of(proxy=f"http://127.0.0.1:{full.getsockname()[1]}") as client:
                answer = await client.post("https://push.example.org/", b"x", {})
    assert answer == NoAnswer("the proxy fails: no connection within 0.5 s")


@pytest.mark.parametrize(
    "serve, why",
    [
        (hangs, "no connection within 0.5 s"),
        (speaks_smtp, "no TLS there that can be verified"),
    ],
)
async def test_a_host_without_tls_behind_the_proxy(
    proxy: ConnectProxy, serve: Serve, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the tunnel stands, what fails speaks for the host, and not for the proxy."""
    async with server_of(serve) as there, client_of(proxy=proxy.url(QUOTED)) as client:
        answer = await client.post(there.replace("http:", "https:"), b"x", {})
    assert answer == NoAnswer(why, host_works=False)
    assert "proxy_failed" not in caplog.text


async def test_a_receiver_behind_the_proxy_that_fails(proxy: ConnectProxy, tmp_path: Path) -> None:
    """A receiver's 407 is its answer, and its silence speaks for the receiver, as without a proxy;
    on a connection from before its host is unknown.
    """
    certificate = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    through: dict[str, Any] = {"proxy": proxy.url(QUOTED), "ca_file": certificate}
    none = "no answer within 1 s"
    async with Receiver(tls=tls) as receiver, client_of(**through) as client:
        receiver.script(Reply(silent=True), Reply(407), Reply(silent=True))
        url = receiver.url()
        assert await client.post(url, b"x", {}) == NoAnswer(none, works=False, host_works=True)
        assert await client.post(url, b"x", {}) == HttpAnswer(407, None)
        assert await client.post(url, b"x", {}) == NoAnswer(none, works=False)


async def test_a_proxy_and_networks_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """One warning at the start says that names are not checked against the networks."""
    both: dict[str, Any] = {"proxy": "http://proxy:3128", "networks": ["10.0.0.0/8"]}
    for changes in ({"networks": NOWHERE}, {"proxy": None}, {}):
        async with client_of(None, **{**both, **changes}):
            pass
    (warning,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert warning.getMessage() == "networks_bypassed"


async def test_the_environment_names_no_proxy(
    proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is for other programs: with it the check of addresses would be the proxy's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url(QUOTED))
    async with Receiver() as receiver, client_of() as client:
        assert await client.post(receiver.url(), b"x", {}) == HttpAnswer(201, None)
    assert proxy.asked == []


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/"])
def test_private_addresses_stay_refused(url: str) -> None:
    """An address in a URL is checked here, with a proxy as without."""
    with pytest.raises(BadUrl, match="public address"):
        checked_url(url, settings(proxy="http://proxy:3128", networks=NOWHERE))
