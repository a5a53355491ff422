"""Hostile and clumsy devices: bounded, answered with a stable code, and nobody else's problem."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aoi_events.contracts.device import MAX_FRAME
from aoi_events.errors import ConfigurationError
from aoi_events.gateway.gateway import Gateway
from aoi_events.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import Running, Start
from tests.support.device_frames import CLIENT, OTHER_CLIENT, hello, request
from tests.support.gateway_workers import Workers
from tests.support.limits import WITHIN

UPGRADE = (
    b"GET /aoi HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: aoi.v1\r\n\r\n"
)


async def healthy(running: Running) -> None:
    """A device is served as ever."""
    device = await running.devices.open(OTHER_CLIENT)
    assert (await device.ask("channel.activate"))["name"] == "echoed.v1"
    await device.web.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """The octets that the server sent until it closed the connection."""
    received = b""
    try:
        async with asyncio.timeout(WITHIN):
            while octets := await reader.read(65_536):
                received += octets
    except ConnectionError:
        return received
    return received


async def test_no_hello_in_time(start: Start) -> None:
    """A connection without a hello ends with 4408."""
    running = await start(hello_within=0.1)
    device = await running.devices.connect()
    code, goodbye = await device.closed()
    assert code == 4408
    assert goodbye is not None
    assert "hello" in goodbye["message"]


@pytest.mark.parametrize(
    "path,headers,status,code",
    [
        ("/", {}, 404, "not_found"),
        ("/aoi", {}, 426, "upgrade_required"),
        ("/aoi", {"Upgrade": "h2c"}, 426, "upgrade_required"),
        (
            "/aoi",
            {"Upgrade": "websocket", "Sec-WebSocket-Protocol": "aoi.v2"},
            400,
            "version_unsupported",
        ),
    ],
)
async def test_other_http_is_refused_helpfully(
    running: Running, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """An HTTP request that is no WebSocket handshake gets its status and a code."""
    url = f"http://127.0.0.1:{running.gateway.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["code"] == code


@pytest.mark.parametrize("protocols", [("aoi.v2",), ("aoi.v2", "mqtt")])
async def test_another_subprotocol_is_refused(running: Running, protocols: tuple[str, ...]) -> None:
    """A handshake that offers only unknown subprotocols is refused with 400."""
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await running.devices.connect(protocols=protocols)


async def test_one_of_several_subprotocols_is_ours(running: Running) -> None:
    """A device may offer newer versions beside ours."""
    device = await running.devices.connect(protocols=("aoi.v2", "aoi.v1"))
    assert device.web.protocol == "aoi.v1"


@pytest.mark.parametrize("size", [MAX_FRAME + 2, 10_000_000])
async def test_too_large_a_frame(running: Running, size: int) -> None:
    """A frame above the bound ends the session with 1009, before it was read."""
    device = await running.devices.open()
    with suppress(ConnectionError):  # the gateway may be gone before the last octet left
        await device.send("x" * size)
    assert (await device.closed())[0] in (1009, 1006)
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])
    await healthy(running)


async def test_the_largest_frame_passes(running: Running) -> None:
    """The bound itself is allowed."""
    device = await running.devices.open()
    frame = request("channel.activate", a="")
    await device.send(request("channel.activate", a="x" * (MAX_FRAME - len(frame))))
    answer = await device.receive("answer")
    assert answer["body"]["code"] == "too_large"  # with the client filled in it is no frame


@pytest.mark.parametrize(
    "frame,codes",
    [
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", {1007}),  # text that is not UTF-8
        (b"\x82\x81\x00\x00\x00\x00x", {1003}),  # binary
        (b"\x81\x81\x00\x00\x00\x00{", {4400}),  # no JSON
        (b"\xf1\x81\x00\x00\x00\x00x", {1002}),  # reserved bits
        (b"\x8b\x80\x00\x00\x00\x00", {1002}),  # unknown opcode
        (b"\x80\x81\x00\x00\x00\x00x", {1002}),  # continues nothing
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", {1002, 1009}),  # 2^64
        (b"\x89\xfe\x01\x00" + b"\x00" * 260, {1002}),  # ping above 125 octets
        (b"\x88\x82\x00\x00\x00\x00\x00\x01", {1002}),  # close code 1
    ],
)
async def test_broken_websocket_frames(running: Running, frame: bytes, codes: set[int]) -> None:
    """Octets that break the rules of WebSocket end that connection with the RFC's code."""
    reader, writer = await running.devices.raw()
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frame)
    received = await ended(reader)
    # The last frame is the close, two octets of code at least.
    assert any(code.to_bytes(2) in received for code in codes), received
    await healthy(running)


async def test_random_octets_instead_of_a_handshake(running: Running) -> None:
    """Octets that are no HTTP are answered or cut, and affect no other device."""
    for size in (1, 100, 10_000, 100_000):
        reader, writer = await running.devices.raw()
        try:
            writer.write(os.urandom(size) + b"\r\n\r\n")
            writer.write_eof()
        except ConnectionError:
            continue  # cut already
        await ended(reader)
    await healthy(running)


async def test_a_slow_handshake_is_cut(start: Start) -> None:
    """A request that drips in is not waited for."""
    running = await start(handshake_within=0.2)
    silent, _ = await running.devices.raw()
    dripping, writer = await running.devices.raw()
    writer.write(UPGRADE[:60])
    await ended(silent)
    await ended(dripping)
    await healthy(running)


async def test_header_floods_are_refused(running: Running) -> None:
    """Endless headers are cut at a bound."""
    reader, writer = await running.devices.raw()
    try:
        writer.write(b"GET /aoi HTTP/1.1\r\nX: " + b"y" * 1_000_000)
        await writer.drain()
    except ConnectionError:
        pass  # cut already
    assert b"101" not in (await ended(reader))[:20]
    await healthy(running)


async def test_connections_are_bounded(start: Start) -> None:
    """One too many is closed at once; when one leaves, the next is served."""
    running = await start(max_connections=2)
    first = await running.devices.open()
    await running.devices.open(OTHER_CLIENT)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await running.devices.connect()
    await first.web.close()
    await running.workers.until(lambda: running.workers.left)
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                await running.devices.open()
            except (aiohttp.ClientError, ConnectionError):
                continue  # the kernel has not told the server yet
            break


async def test_a_flood_ends_with_4429(start: Start) -> None:
    """Requests beyond the burst are refused, then the connection ends; another is served."""
    running = await start(frames_burst=20, frames_per_second=0.1)
    device = await running.devices.open()
    for number in range(60):
        await device.send(request("channel.activate", number))
    code, _ = await device.closed()
    assert code == 4429
    assert len(running.workers.requests_named("channel.activate")) < 20
    await healthy(running)


async def test_pings_are_answered_and_counted(start: Start) -> None:
    """A device may ping; a flood of pings is a flood."""
    running = await start(frames_burst=20, frames_per_second=0.1)
    device = await running.devices.open(answers_pings=False)
    await device.web.ping(b"are you there")
    message = await device.web.receive(10)
    assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"are you there")
    for _ in range(60):
        await device.web.ping()
    async with asyncio.timeout(WITHIN):
        while (await device.web.receive()).type is not aiohttp.WSMsgType.CLOSED:
            pass
    assert device.web.close_code == 4429


async def test_requests_of_all_devices_are_bounded(start: Start) -> None:
    """When the workers are silent, requests beyond the bound are answered at once."""
    running = await start(requests_at_once=1, requests_waiting=1, request_within=60)
    devices = [await running.devices.open("cli_" + letter * 26) for letter in "cde"]
    running.workers.replies["channel.activate"] = lambda message: None
    for device in devices[:2]:
        await device.send(request("channel.activate"))
    await running.workers.until(lambda: running.workers.requests_named("channel.activate"))
    answer = await devices[2].ask("channel.activate")
    assert answer["body"]["code"] == "unavailable"


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "gateway.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


async def test_tls(start: Start, tmp_path: Path) -> None:
    """With a certificate the gateway serves TLS."""
    path = self_signed(tmp_path)
    running = await start(certificate=path)
    trusting = ssl.create_default_context(cafile=str(path))
    trusting.check_hostname = False
    device = await running.devices.connect(tls=trusting)
    assert (await device.welcome())["client"] == CLIENT
    await device.web.close()


async def test_a_certificate_that_cannot_be_used_is_said(workers: Workers, tmp_path: Path) -> None:
    """The error names the file and the setting."""
    settings = GatewaySettings(port=0, certificate=tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match=r"AOI_GATEWAY__CERTIFICATE: cannot.*none\.pem"):
        await Gateway(workers.broker, settings=settings).run(asyncio.Event())


async def test_hellos_at_once(running: Running) -> None:
    """A hundred devices that reconnect at once are all admitted."""
    clients = [f"cli_{'abcdefghij'[n // 10] * 13}{'abcdefghij'[n % 10] * 13}" for n in range(100)]
    devices = [await running.devices.connect() for _ in clients]
    for device, client in zip(devices, clients, strict=True):
        await device.send(hello(client))
    for device, client in zip(devices, clients, strict=True):
        assert (await device.receive("welcome"))["client"] == client
