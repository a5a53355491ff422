"""PostgreSQL servers that take no writes: a standby, and one with a read-only database."""

from __future__ import annotations

import asyncio

from aoi_events.testing.containers import PostgresServer
from tests.support.containers import address_of

_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
_BECOME_STANDBY = (
    "pg_basebackup -d 'host={host} user=aoi password=aoi' -D /tmp/standby -c fast -R "
    "&& exec postgres -D /tmp/standby -c fsync=off -c max_connections=300"
)


async def set_read_only(server: PostgresServer, database: str, *, on: bool) -> None:
    """Refuse writes in all new sessions of a database, or take them; on ends earlier sessions."""
    value = "on" if on else "off"
    await server._execute(
        f'ALTER DATABASE "{database}" SET default_transaction_read_only = {value}'
    )
    if on:
        sessions = f"pg_stat_activity WHERE datname = '{database}'"
        await server._execute(f"SELECT pg_terminate_backend(pid) FROM {sessions}")  # noqa: S608


class StandbyServer(PostgresServer):
    """A hot standby of ``primary``, which runs; :meth:`promote` makes it a primary."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.image)
        self._primary = primary

    def start(self) -> None:
        """Copy the primary and follow it; return when it answers queries."""
        from testcontainers.core.container import DockerContainer

        primary = self._primary.container
        permit = "echo 'host replication all all scram-sha-256' >>\"$PGDATA/pg_hba.conf\""
        assert primary.exec(["bash", "-c", permit]).exit_code == 0
        asyncio.run(self._primary._execute("SELECT pg_reload_conf()"))
        self._create(
            DockerContainer(self.image)
            .with_command(
                [
                    *_AS_POSTGRES,
                    "bash",
                    "-c",
                    _BECOME_STANDBY.format(host=address_of(self._primary)),
                ]
            )
            .with_bind_ports(5432, self.port)
        )
        self.wait_ready()

    def promote(self) -> None:
        """Become a primary; return when it takes writes."""
        asyncio.run(self._execute("SELECT pg_promote()"))
