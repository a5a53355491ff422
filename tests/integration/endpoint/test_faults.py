"""Workers without answers, a lost broker, an endpoint that stops, and TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from aoi_events.endpoint.endpoint import Endpoint
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ConfigurationError
from aoi_events.testing.containers import RabbitServer
from tests.integration.endpoint.conftest import OpenServer
from tests.integration.endpoint.server_under_test import AES128GCM, ServerUnderTest
from tests.integration.gateway.test_limits import self_signed
from tests.support.containers import in_containers
from tests.support.limits import WITHIN

PUSH = {"TTL": "60"} | AES128GCM


async def test_silent_workers_are_503(open_server: OpenServer) -> None:
    """Without an answer in time, 503 and when to come again; what was asked is not lost: it is
    answered once somebody works.
    """
    server = await open_server(workers=("registration",), endpoint={"request_within": 0.2})
    device = await server.system.device()
    reply = await server.push(device.token)
    assert (reply.status, reply.errno) == (503, 201)
    assert 5 <= int(reply.headers["Retry-After"]) <= 15
    api = await server.api("POST", json={"tokens": [device.token], "content": {"data": "x"}})
    assert (api.status, api.json["code"]) == (503, "unavailable")
    assert api.json["message"] == "the workers did not answer in time; try again"
    assert "Retry-After" in api.headers
    await server.system.serve("notification")
    await server.system.events.wait_for("notification.accepted", count=2)


async def test_silent_workers_are_logged_without_secrets(
    open_server: OpenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When nobody answers what a sender asks, the log names the request, and neither its token, nor
    its content, nor the sender's keys.
    """
    caplog.set_level(logging.DEBUG)
    server = await open_server(workers=("registration",), endpoint={"request_within": 0.1})
    device = await server.system.device()
    signed = {"Authorization": "Bearer 5ec7e7"}
    await server.push(device.token, b"private words")
    await server.push(device.token, b"private words", **signed)
    body = {"tokens": [device.token], "content": {"data": "private words"}}
    await server.api("POST", json=body)
    told = caplog.text + repr([vars(record) for record in caplog.records])
    assert told.count("request_not_answered") >= 2
    hidden = (device.token, device.secret, server.api_key(), "5ec7e7", "private words")
    assert [each for each in hidden if each in told] == []


async def test_too_many_that_wait_are_503(open_server: OpenServer) -> None:
    """Requests that wait are bounded; one above the limit is refused at once with 503."""
    server = await open_server(
        workers=("registration",), endpoint={"requests_at_once": 1, "requests_waiting": 1}
    )
    device = await server.system.device()
    replies = [asyncio.ensure_future(server.push(device.token)) for _ in range(3)]
    done, _ = await asyncio.wait(replies, return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN)
    assert [task.result().status for task in done] == [503]
    await server.system.serve("notification")
    assert sorted([(await reply).status for reply in replies]) == [201, 201, 503]


async def test_a_broker_that_is_gone_is_503(open_server: OpenServer) -> None:
    """Neither a traceback nor a broken connection: 503, for Web Push and for the JSON API."""
    server = await open_server()
    broker = await server.system.connect("aoi-endpoint")
    stop = asyncio.Event()
    endpoint = Endpoint(broker, settings=EndpointSettings(port=0, request_within=5.0))
    running = asyncio.ensure_future(endpoint.run(stop))
    try:
        async with asyncio.timeout(WITHIN):
            await endpoint.started.wait()
        await broker.close()
        url = f"http://127.0.0.1:{endpoint.port}/wpush/v1/k1.x"
        reply = await server.ask("POST", url, headers=PUSH, data=b"x")
        assert (reply.status, reply.errno) == (503, 201)
        assert reply.json["message"] == "the broker is away; try again"
    finally:
        stop.set()
        await running


async def test_stopping_answers_what_is_under_way(
    open_server: OpenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """TERM: no new connections, but whoever waits for an answer gets it."""
    server = await open_server(workers=("registration",))
    device = await server.system.device()
    broker = await server.system.connect("aoi-endpoint")
    stop = asyncio.Event()
    endpoint = Endpoint(broker, settings=EndpointSettings(port=0))
    running = asyncio.ensure_future(endpoint.run(stop))
    async with asyncio.timeout(WITHIN):
        await endpoint.started.wait()
    url = f"http://127.0.0.1:{endpoint.port}"
    asked = asyncio.ensure_future(
        server.ask("POST", f"{url}/wpush/v1/{device.token}", headers=PUSH, data=b"x")
    )
    await server.ask("GET", f"{url}/openapi.json")
    await server.system.until(lambda: _waiting(endpoint), bool)
    stop.set()
    await server.system.until(lambda: _deaf(endpoint), bool)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", endpoint.port)
    await server.system.serve("notification")
    assert (await asked).status == 201
    async with asyncio.timeout(WITHIN):
        await running
    await broker.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_stopping_reads_a_body_to_its_end(server: ServerUnderTest) -> None:
    """TERM between the head and the body of a request: the rest is read, and it is answered."""
    broker = await server.system.connect("aoi-endpoint")
    stop = asyncio.Event()
    endpoint = Endpoint(broker, settings=EndpointSettings(port=0))
    running = asyncio.ensure_future(endpoint.run(stop))
    async with asyncio.timeout(WITHIN):
        await endpoint.started.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        head = (
            "POST /wpush/v1/k1.x HTTP/1.1\r\nHost: x\r\nTTL: 1\r\nContent-Encoding: aes128gcm\r\n"
        )
        writer.write(f"{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nx".encode())
        await reader.readuntil(b"100 Continue\r\n\r\n")
        stop.set()
        await server.system.until(lambda: _deaf(endpoint), bool)
        writer.write(b"x")
        answer = await reader.read()
        await running
    writer.close()
    await broker.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in answer.lower()


async def _waiting(endpoint: Endpoint) -> bool:
    return endpoint.waiting > 0


async def _deaf(endpoint: Endpoint) -> bool:
    return not endpoint.listening


async def test_tls(open_server: OpenServer, tmp_path: Path) -> None:
    """With a certificate the endpoint speaks TLS, and says https of itself where it is told to."""
    path = self_signed(tmp_path)
    server = await open_server(endpoint={"certificate": path, "public_url": "https://push.test"})
    trusting = ssl.create_default_context(cafile=str(path))
    trusting.check_hostname = False
    device = await server.system.device()
    url = f"https://127.0.0.1:{server.port}/wpush/v1/{device.token}"
    async with server.http.post(url, ssl=trusting, headers=PUSH, data=b"x") as response:
        assert response.status == 201
        assert response.headers["Location"].startswith("https://push.test/message/wp-")
    with pytest.raises(aiohttp.ClientError):
        await server.push(device.token)


async def test_what_cannot_be_listened_on_is_said(server: ServerUnderTest, tmp_path: Path) -> None:
    """The error of a bad address or certificate names the setting, and nothing stays open."""
    broker = await server.system.connect("aoi-endpoint")
    for settings, said in (
        (EndpointSettings(port=server.port), "cannot listen on 127.0.0.1 port"),
        (
            EndpointSettings(port=0, certificate=tmp_path / "none.pem"),
            "AOI_ENDPOINT__CERTIFICATE: cannot read",
        ),
    ):
        with pytest.raises(ConfigurationError, match=said):
            await Endpoint(broker, settings=settings).run(asyncio.Event())
    await broker.close()


async def test_a_bug_is_answered_and_told(
    server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with 999, the traceback in our log and not in the answer; the connection serves on."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("5ec7e7")

    monkeypatch.setattr("aoi_events.endpoint.push.read_headers", broken)
    reply = await server.push("k1.x")
    assert (reply.status, reply.errno) == (500, 999)
    assert b"5ec7e7" not in reply.body
    assert "request_failed" in caplog.text
    monkeypatch.undo()
    assert (await server.push("k1.x")).status == 404


@pytest.mark.parametrize("backend", [in_containers("rabbitmq+postgresql")], indirect=True)
async def test_a_connection_that_was_cut_comes_back(
    open_server: OpenServer, rabbit_server: RabbitServer
) -> None:
    """The broker cuts the endpoint's connection: 503 for a while at most, then 201 as before."""
    server = await open_server()
    device = await server.system.device()
    broker = await server.system.connect("aoi-endpoint")
    stop = asyncio.Event()
    endpoint = Endpoint(broker, settings=EndpointSettings(port=0, request_within=5.0))
    running = asyncio.ensure_future(endpoint.run(stop))
    url = ""

    async def push() -> int:
        reply = await server.ask("POST", url, headers=PUSH, data=b"x")
        assert reply.status in (201, 503), reply.body
        return reply.status

    try:
        async with asyncio.timeout(WITHIN):
            await endpoint.started.wait()
        url = f"http://127.0.0.1:{endpoint.port}/wpush/v1/{device.token}"
        assert await push() == 201
        url_of_workers = server.system.installation.settings.broker.get_secret_value()
        vhost = urlsplit(url_of_workers).path.lstrip("/")
        await asyncio.to_thread(rabbit_server.cut, vhost, broker.user)
        await server.system.until(push, lambda status: status == 201)
    finally:
        stop.set()
        await running
        await broker.close()


async def _unsent(endpoint: Endpoint) -> list[int]:
    """The octets that each open connection did not send yet."""
    return [sent.get_write_buffer_size() for sent, _ in endpoint._server._open.values()]


async def test_a_sender_that_does_not_read_is_closed_at_the_end(open_server: OpenServer) -> None:
    """An endpoint that has ended has no connection left, although answers were not read."""
    server = await open_server()
    broker = await server.system.connect("aoi-endpoint")
    stop = asyncio.Event()
    endpoint = Endpoint(broker, settings=EndpointSettings(port=0, drain_within=0.1))
    running = asyncio.ensure_future(endpoint.run(stop))
    async with asyncio.timeout(WITHIN):
        await endpoint.started.wait()
        # With a limit of one octet, asyncio stops reading from the socket at once.
        _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port, limit=1)
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        await server.system.until(lambda: _unsent(endpoint), any)
        stop.set()
        await running
        await server.system.until(lambda: _unsent(endpoint), lambda unsent: unsent == [])
    writer.close()
