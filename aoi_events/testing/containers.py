"""A RabbitMQ and a PostgreSQL in containers; tests share the servers and nothing on them.

Each test gets a virtual host or a database of its own. Images come from
``AOI_TEST_RABBITMQ_IMAGE`` and ``AOI_TEST_POSTGRES_IMAGE`` where a caller names none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from base64 import b64encode
from collections.abc import Collection
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import quote

import psycopg

from aoi_events.store.migration import upgrade
from aoi_events.testing.container_server import (
    READY_WITHIN,
    ContainerServer,
    Known,
    starting_containers,
    wait_until,
)
from aoi_events.testing.ports import free_port

POSTGRES_IMAGE: Final = "postgres:17"
RABBITMQ_IMAGE: Final = "rabbitmq:4-management"
_AMQP, _MANAGEMENT, _POSTGRES = 5672, 15672, 5432
_LOOPBACK = "127.0.0.1"
_AS_GUEST = "Basic " + b64encode(b"guest:guest").decode()


class RabbitServer(ContainerServer):
    """A RabbitMQ node in a container; it keeps its ports when it is restarted.

    ``image`` has the management plug-in, as ``rabbitmq:4-management``.
    """

    _answers_within = READY_WITHIN

    def __init__(self, image: str | None = None) -> None:
        super().__init__(image or os.environ.get("AOI_TEST_RABBITMQ_IMAGE") or RABBITMQ_IMAGE)
        self._management = free_port()

    def start(self) -> None:
        """Create and start the container, and wait until it serves.

        Raises ContainersUnavailable.
        """
        # The readiness probe tries until the node answers, and pika reports each refusal at length.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        with starting_containers(self.image):
            from testcontainers.community.rabbitmq import RabbitMqContainer

            self._create(
                RabbitMqContainer(self.image, username="guest", password="guest")  # noqa: S106
                .with_bind_ports(_AMQP, self.port)
                .with_bind_ports(_MANAGEMENT, self._management)
            )
            self.wait_ready()

    def join(self, known: Known) -> None:
        """Use the node that another process started, which returned :meth:`known`."""
        from testcontainers.community.rabbitmq import RabbitMqContainer

        self._attach(RabbitMqContainer, known)
        self._management = int(known["management"])

    def known(self) -> Known:
        """The values with which another process on this machine joins it."""
        return super().known() | {"management": str(self._management)}

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` inside the container."""
        result = self.container.exec(["rabbitmqctl", "--quiet", *arguments])
        output: str = result.output.decode()
        assert result.exit_code == 0, f"rabbitmqctl {arguments}: {output}"
        return output

    def cut(self, vhost: str, user: str) -> None:
        """Close every connection of ``user`` to that virtual host, and no other."""
        self.ctl(
            "eval",
            '[rabbit_networking:close_connection(Pid, "it is cut") '
            f'|| [{{pid, Pid}}, {{vhost, <<"{vhost}">>}}, {{user, <<"{user}">>}}] '
            "<- rabbit_networking:connection_info_all([pid, vhost, user])].",
        )

    def url(self, vhost: str, *, user: str = "guest", password: str | None = None) -> str:
        """The URL of ``vhost`` for ``user``, whose password is by default the user's name."""
        secret = user if password is None else password
        return f"amqp://{user}:{secret}@{_LOOPBACK}:{self.port}/{quote(vhost, safe='')}"

    def new_vhost(self) -> str:
        """A virtual host of its own for one test; ``guest`` may do everything there."""
        vhost = f"test-{secrets.token_hex(6)}"
        self.api("PUT", f"/vhosts/{vhost}")
        return vhost

    def add_user(self, vhost: str, user: str, *, configure: str = ".*") -> str:
        """Add a user with password ``user`` to a vhost; returns its URL.

        One that exists, also one that another process adds meanwhile, is set to the same.
        """
        self._add_user(user)
        self._permit(vhost, user, configure=configure, write=".*", read=".*")
        return self.url(vhost, user=user)

    def add_sender(self, vhost: str, user: str) -> str:
        """Add an Application Server's user, with the permissions it needs and no more.

        It may ask for notifications and hear of its own; returns its URL.
        """
        self._add_user(user)
        own = rf"aoi\.reply\.{user}\..*"
        self._permit(
            vhost,
            user,
            configure=f"^{own}$",
            write=rf"^(aoi\.requests|{own})$",
            read=rf"^(aoi\.events|{own})$",
        )
        topics = {
            "aoi.requests": (r"^notification\.(send|cancel|status)$", "^$"),
            "aoi.events": ("^$", rf"^notification\.[a-z*]+\.{user}$"),
        }
        for exchange, (write, read) in topics.items():
            self.api(
                "PUT",
                f"/topic-permissions/{vhost}/{user}",
                {"exchange": exchange, "write": write, "read": read},
            )
        return self.url(vhost, user=user)

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with all its queues, if it exists."""
        # 500 says that another process deleted it meanwhile, among other things.
        if self.api("DELETE", f"/vhosts/{vhost}", besides=(404, 500)):
            self.api("DELETE", f"/vhosts/{vhost}", besides=(404,))

    def api(
        self, method: str, path: str, body: object = None, *, besides: Collection[int] = ()
    ) -> Any:
        """Call the management API and return its answer, decoded.

        Raises AssertionError for an error whose status is not in ``besides``.
        """
        connection = HTTPConnection(_LOOPBACK, self._management, timeout=self._answers_within)
        try:
            connection.request(
                method,
                f"/api{path}",
                None if body is None else json.dumps(body),
                {"Authorization": _AS_GUEST, "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        fine = answer.status < 300 or answer.status in besides
        assert fine, f"{method} {path}: {answer.status} {content.decode()}"
        return json.loads(content) if content else None

    def _add_user(self, user: str) -> None:
        settings = {"password": user, "tags": ""}
        # RabbitMQ looks whether the user exists, then adds or changes it; 400 says that another
        # process added it in between. Then the second request changes it.
        if self.api("PUT", f"/users/{user}", settings, besides=(400,)):
            self.api("PUT", f"/users/{user}", settings)

    def _permit(self, vhost: str, user: str, **rights: str) -> None:
        self.api("PUT", f"/permissions/{vhost}/{user}", rights)

    def wait_ready(self) -> None:
        """Wait until both AMQP and the management API answer."""
        wait_until(lambda: self.container.readiness_probe() is not None)
        wait_until(lambda: self.api("GET", "/overview") is not None)


class PostgresServer(ContainerServer):
    """A PostgreSQL server in a container; it keeps its port when it is restarted."""

    def __init__(self, image: str | None = None) -> None:
        super().__init__(image or os.environ.get("AOI_TEST_POSTGRES_IMAGE") or POSTGRES_IMAGE)
        self._template: str | None = None

    def start(self) -> None:
        """Create and start the container, and wait until it serves.

        Raises ContainersUnavailable.
        """
        with starting_containers(self.image):
            from testcontainers.community.postgres import PostgresContainer

            # A crash of the machine is not what tests try, so nothing need reach its disk.
            self._create(
                PostgresContainer(
                    self.image,
                    username="aoi",
                    password="aoi",  # noqa: S106 - of a throw-away server on loopback
                )
                .with_command("postgres -c fsync=off -c max_connections=300")
                .with_bind_ports(_POSTGRES, self.port)
            )

    def join(self, known: Known) -> None:
        """Use the server that another process started, which returned :meth:`known`."""
        from testcontainers.community.postgres import PostgresContainer

        self._attach(PostgresContainer, known)

    def wait_ready(self) -> None:
        """Wait until it answers a query."""
        wait_until(lambda: asyncio.run(self._serves()))

    def url(self, database: str) -> str:
        """The URL of ``database``."""
        return f"postgresql://aoi:aoi@{_LOOPBACK}:{self.port}/{database}"

    async def new_database(self, *, schema: bool = False) -> str:
        """A database of its own for one test: empty, or with the ``schema`` of this version."""
        if not schema:
            return await self._copied("template1")
        if self._template is None:
            made = await self._copied("template1")
            await upgrade(self.url(made))
            self._template = made
        return await self._copied(self._template)

    async def delete_database(self, database: str) -> None:
        """Delete a database and end its sessions, if it exists."""
        await self._execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    async def _copied(self, template: str) -> str:
        database = f"test_{secrets.token_hex(6)}"
        await self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return database

    async def _serves(self) -> bool:
        try:
            await self._execute("SELECT 1")
        except psycopg.OperationalError:  # it starts
            return False
        return True

    async def _execute(self, statement: str) -> None:
        async with asyncio.timeout(READY_WITHIN):
            url = self.url("postgres")
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                while True:
                    # Sessions that were closed end a little later. The server waits 5 s for them
                    # before it raises this, which may be too short on a busy machine.
                    with suppress(psycopg.errors.ObjectInUse):
                        await connection.execute(statement)
                        return
