"""PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os

from aoi_events.testing.containers import PostgresServer
from tests.support.containers import address_of

_CONFIGURATION = """
[databases]
* = host={host} port=5432
[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = scram-sha-256
auth_file = /tmp/users
pool_mode = {mode}
default_pool_size = {size}
min_pool_size = {size}
server_round_robin = 1
max_prepared_statements = 0
"""
_START = (
    "printf '%s' \"$USERS\" >/tmp/users; printf '%s' \"$INI\" >/tmp/ini; exec pgbouncer /tmp/ini"
)


class PgBouncer(PostgresServer):
    """A pooler in ``mode`` session or transaction with ``size`` connections to the server."""

    def __init__(self, server: PostgresServer, mode: str, size: int) -> None:
        super().__init__(os.environ["AOI_TEST_PROXIES_IMAGE"])
        self._configuration = _CONFIGURATION.format(host=address_of(server), mode=mode, size=size)

    def start(self) -> None:
        """Start it, and return when it answers queries."""
        from testcontainers.core.container import DockerContainer

        self._create(
            DockerContainer(self.image)
            .with_command(["sh", "-c", _START])
            .with_env("INI", self._configuration)
            .with_env("USERS", '"aoi" "aoi"\n')
            .with_bind_ports(6432, self.port)
        )
        self.wait_ready()
