"""HAProxy in front of gateways and endpoints of this machine."""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import aiohttp

from aoi_events.testing.container_server import ContainerServer
from aoi_events.testing.ports import free_port
from tests.support.limits import WITHIN

_CONFIGURATION: Final = """
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  # A connection that a server refuses is an error of the client at once.
  retries 0
listen state
  bind 127.0.0.1:{state}
  stats enable
  stats uri /
"""
_LISTEN: Final = """
listen {name}
  bind 127.0.0.1:{port}
  option httpchk GET /readyz
  default-server check inter 100ms fall 2 rise 1
  # A busy machine answers later than the next look; else that alone would take a server away.
  timeout check 2s
"""
_START: Final = "printf '%s' \"$CFG\" >/tmp/cfg; exec haproxy -f /tmp/cfg"


class HAProxy(ContainerServer):
    """A balancer for ``groups`` of servers: of each server its port, and that of its health.

    ``ports`` are those at which the balancer serves each group.
    """

    def __init__(self, groups: Mapping[str, Mapping[int, int]]) -> None:
        super().__init__(os.environ["AOI_TEST_PROXIES_IMAGE"])
        self.ports = {name: free_port() for name in groups}
        self._configuration = _CONFIGURATION.format(state=self.port)
        for name, servers in groups.items():
            self._configuration += _LISTEN.format(name=name, port=self.ports[name]) + "".join(
                f"  server {port} 127.0.0.1:{port} port {health}\n"
                for port, health in servers.items()
            )

    def start(self) -> None:
        """Start it; it listens a little later."""
        from testcontainers.core.container import DockerContainer

        self._create(
            DockerContainer(self.image)
            .with_command(["sh", "-c", _START])
            .with_env("CFG", self._configuration)
            .with_kwargs(network_mode="host")
        )

    async def until_up(self) -> None:
        """Return as soon as it sends requests to every server."""
        async with asyncio.timeout(WITHIN), aiohttp.ClientSession() as session:
            # Each look is a round trip, so this loop is no busy one.
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"http://127.0.0.1:{self.port}/;csv") as answer:
                        lines = (await answer.text()).removeprefix("# ").splitlines()
                    servers = [line for line in csv.DictReader(lines) if line["svname"].isdecimal()]
                    if all(server["status"] == "UP" for server in servers):
                        return
