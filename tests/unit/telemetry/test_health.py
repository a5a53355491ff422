"""The health server's address."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest

from aoi_events.errors import ConfigurationError
from aoi_events.telemetry.health import HealthServer


async def test_all_addresses_are_those_of_ipv4_too() -> None:
    """On ``::`` health is served over IPv6 and IPv4."""
    server = _server("::", 0)
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            for host in ("127.0.0.1", "[::1]"):
                async with http.get(f"http://{host}:{server.port}/livez") as response:
                    assert response.status == 200
    finally:
        await server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_a_port_that_is_taken(host: str) -> None:
    """It is refused with the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"{port}: Address already in use; set"):
            await asyncio.wait_for(_server(host, port).start(), 10)


def _server(host: str, port: int) -> HealthServer:
    return HealthServer(host, port, {}, metrics=lambda _: (b"", "text/plain"), notes=dict)
