"""Connections that gateway and endpoint refuse, and peers that go before they are answered."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.cli.conftest import MEMORY, Start
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN

HANDSHAKE = (
    b"GET /aoi HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SENT = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /aoi HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/notifications/n1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n",
    b"POST /v1/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}",
    b"POST /v1/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    HANDSHAKE,
    HANDSHAKE.replace(b"/aoi", b"/"),
    HANDSHAKE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"x"),
    HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: aoi.v9\r\n\r\n"),
    HANDSHAKE + b"\xff\xff\xff\xff",
    HANDSHAKE + b"\x81\x83\0\0\0\0abc",
    b"GET /aoi HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03",
    b"\0garbage\r\n\r\n",
    b"",
]
ROLES = ("GATEWAY", "ENDPOINT")
ABOVE = 20
"""Connections above the limit."""
MOST = 3 * len(SENT) + ABOVE
"""The limit, which the connections before these do not reach."""
RESET = struct.pack("ii", 1, 0)


def opened(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection, after the handshake of TLS where there is one."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=WITHIN)
    return connection if tls is None else tls.wrap_socket(connection, server_hostname="localhost")


def be_refused(port: int, tls: ssl.SSLContext | None) -> None:
    """Send what is refused, go at once or with a reset, and open too many connections."""
    for octets in SENT:
        for context, reset in ((tls, False), (tls, True), (None, True)):
            with opened(port, context) as connection:
                # The server may end the connection before it has read everything.
                with suppress(ConnectionError):
                    connection.sendall(octets)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with ExitStack() as stack:
        for _ in range(MOST + ABOVE):
            with suppress(OSError):
                stack.enter_context(opened(port, tls))


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
async def test_a_refused_connection_logs_no_traceback(
    start: Start, tmp_path: Path, with_tls: bool
) -> None:
    """Whatever a peer sends, however it goes, and also when there are too many."""
    settings = {f"AOI_{role}__CONNECTIONS_PER_ADDRESS": str(MOST) for role in ROLES}
    tls = None
    if with_tls:
        certificate = self_signed(tmp_path)
        tls = ssl.create_default_context(cafile=certificate)
        settings |= {f"AOI_{role}__CERTIFICATE": str(certificate) for role in ROLES}
    process = await start("up", **MEMORY, **settings)
    started = await process.says("started")
    for url in (started["devices"], started["senders"]):
        port = urlsplit(url).port
        assert port is not None
        await asyncio.to_thread(be_refused, port, tls)
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 0
    events = [line["event"] for line in process.log]
    assert events.count("too_many_connections_of_an_address") >= len(ROLES)
    faults = [line for line in process.log if line["level"] == "error" or "exception" in line]
    assert not faults, faults[0].get("exception", faults[0])
