"""The fixtures of the plug-in; loaded in every run, so what is heavy comes with its first use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from aoi_events.testing.limits import WITHIN

if TYPE_CHECKING:
    from aoi_events.testing.containers import PostgresServer, RabbitServer
    from aoi_events.testing.devices import FakeDevice
    from aoi_events.testing.scripted import ScriptedProvider
    from aoi_events.testing.server import AoiServer
    from aoi_events.testing.sharing import SharedServers
    from aoi_events.testing.waiting import WaitFor

_SHARED: pytest.StashKey[SharedServers] = pytest.StashKey()


class MakeDevice(Protocol):
    """The fixture ``fake_device``: see :meth:`aoi_events.testing.server.AoiServer.device`."""

    def __call__(
        self,
        name: str = "phone",
        *,
        apps: Iterable[str] = (),
        sms: bool = True,
        scripted: bool = False,
        number: str | None = None,
        identity: str | None = None,
        ready: bool = True,
        within: float = WITHIN,
    ) -> Awaitable[FakeDevice]:
        """Switch a device on."""


@pytest.fixture
def aoi_settings(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Settings of the test's AOI Server: those of the marker ``aoi_settings``, the nearest first.

    Override this fixture to set them for a folder or a file, and return, say,
    ``{"policy": {"backlog": 3}}``. What is not set has short waits, else the server's defaults.
    """
    settings: dict[str, Any] = {}
    for marker in request.node.iter_markers("aoi_settings"):
        settings = {**marker.kwargs, **settings}
    return settings


@pytest_asyncio.fixture
async def aoi(
    aoi_settings: Mapping[str, Any], aoi_empty_database: Path, tmp_path_factory: Any
) -> AsyncIterator[AoiServer]:
    """A whole AOI Server in the test's process, on ``memory://`` and SQLite, empty and at work.

    Its devices connect to ``aoi.gateway_url``, your code to ``aoi.broker_url("shop")``;
    ``aoi.publisher()`` and ``aoi.device()`` make one of each.
    """
    from shutil import copyfile

    from aoi_events.testing.server import open_server

    name = f"test-{uuid4().hex[:12]}"
    database = tmp_path_factory.mktemp("aoi") / "aoi.sqlite3"
    copyfile(aoi_empty_database, database)
    settings = {
        **aoi_settings,
        "broker": f"memory://aoi@{name}",
        "store": f"sqlite:///{database}",
    }
    async with open_server(
        settings, sender_url=lambda sender: f"memory://{sender}@{name}"
    ) as server:
        yield server


@pytest.fixture(scope="session")
def aoi_empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the schema and nothing in it, to be copied."""
    from aoi_events.store.migration import upgrade

    file = tmp_path_factory.mktemp("aoi") / "empty.sqlite3"
    asyncio.run(upgrade(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def aoi_rabbitmq_server(
    request: pytest.FixtureRequest, aoi_servers: SharedServers | None
) -> Iterator[RabbitServer]:
    """The RabbitMQ container of this run, also of one in several processes (pytest-xdist).

    Tests have a virtual host each. Users and limits are the whole server's: a test that closes
    connections of others, or stops the node, starts a ``RabbitServer()`` of its own.
    """
    from aoi_events.testing.containers import RabbitServer

    image = os.environ.get("AOI_TEST_RABBITMQ_IMAGE") or request.config.getini("aoi_rabbitmq_image")
    yield from _running(RabbitServer(image), "rabbitmq", aoi_servers)


@pytest.fixture(scope="session")
def aoi_postgres_server(
    request: pytest.FixtureRequest, aoi_servers: SharedServers | None
) -> Iterator[PostgresServer]:
    """The PostgreSQL container of this run, also of one in several processes (pytest-xdist).

    Tests have a database each.
    """
    from aoi_events.testing.containers import PostgresServer

    image = os.environ.get("AOI_TEST_POSTGRES_IMAGE") or request.config.getini("aoi_postgres_image")
    yield from _running(PostgresServer(image), "postgres", aoi_servers)


@pytest.fixture(scope="session")
def aoi_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SharedServers | None:
    """The servers that the processes of this run share; None where it has only one process."""
    if not hasattr(request.config, "workerinput"):
        return None
    from aoi_events.testing.sharing import SharedServers

    # pytest-xdist gives each process a folder of its own in one of the run.
    servers = SharedServers(tmp_path_factory.getbasetemp().parent / "aoi-servers")
    request.config.stash[_SHARED] = servers
    return servers


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Release shared servers here, because waiting for other processes is no part of a test."""
    if servers := session.config.stash.get(_SHARED, None):
        servers.close()


def _running(server: Any, name: str, shared: SharedServers | None) -> Iterator[Any]:
    """Start the server, with a readable failure in the test report."""
    from aoi_events.testing.container_server import ContainersUnavailable

    missing = None
    try:
        try:
            if shared is None:
                server.start()
            else:
                shared.use(server, name)
        except ContainersUnavailable as error:
            missing = str(error)
        if missing is not None:
            pytest.fail(missing, pytrace=False)
        yield server
    finally:
        if shared is None:
            server.stop()


@pytest_asyncio.fixture
async def aoi_rabbitmq(
    aoi_settings: Mapping[str, Any],
    aoi_rabbitmq_server: RabbitServer,
    aoi_postgres_server: PostgresServer,
) -> AsyncIterator[AoiServer]:
    """As ``aoi``, on a real RabbitMQ and PostgreSQL in containers (needs Docker).

    One container of each runs for all tests, also in several processes (pytest-xdist); each test
    gets a virtual host and a database of its own. Senders get a broker user with the permissions of
    an Application Server, and no more.
    """
    from aoi_events.testing.server import open_server

    vhost = await asyncio.to_thread(aoi_rabbitmq_server.new_vhost)
    database = await aoi_postgres_server.new_database(schema=True)
    settings = {
        **aoi_settings,
        "broker": aoi_rabbitmq_server.url(vhost),
        "store": aoi_postgres_server.url(database),
    }
    try:
        async with open_server(
            settings, sender_url=lambda sender: aoi_rabbitmq_server.add_sender(vhost, sender)
        ) as server:
            yield server
    finally:
        await asyncio.to_thread(aoi_rabbitmq_server.delete_vhost, vhost)
        await aoi_postgres_server.delete_database(database)


@pytest.fixture
def aoi_server(request: pytest.FixtureRequest) -> AoiServer:
    """The AOI Server of this test: of ``aoi_rabbitmq`` if the test asks for it, else of ``aoi``."""
    name = "aoi_rabbitmq" if "aoi_rabbitmq" in request.fixturenames else "aoi"
    server: AoiServer = request.getfixturevalue(name)
    return server


@pytest.fixture
def fake_device(aoi_server: AoiServer) -> MakeDevice:
    """Makes devices that are switched on.

    ``phone = await fake_device("phone", apps=["org.example.mail"])``. Each has the real AOI
    Client, memory for storage, an inbox per app (``await phone.read()``), a network to cut and
    restore, and a radio for SMS. Options are those of ``aoi.device``.
    """
    return aoi_server.device


@pytest.fixture
def scripted_channel(aoi_server: AoiServer) -> ScriptedProvider:
    """The provider of the channel ``scripted``, which answers each delivery as the test chooses.

    ``scripted_channel.script(Say.refused(retry_after=60), Say.accepted())`` decides the next two;
    ``await scripted_channel.next_delivery()`` is what it was given. A device has this channel with
    ``fake_device("phone", scripted=True)``; switch it off, and nothing but this channel is left.
    """
    return aoi_server.scripted


@pytest.fixture
def wait_for(aoi_server: AoiServer) -> WaitFor:
    """Waits for an event, a condition or a state, with a deadline and a detailed failure.

    ``await wait_for("notification.delivered", notification="n1")`` for events of the server,
    ``await wait_for(Connected, device="phone")`` for those of devices,
    ``await wait_for(lambda: shop.paid)`` for conditions, and
    ``await wait_for.state("n1", "delivered")`` or ``await wait_for.hop("n1", "refused")`` for what
    becomes of a notification.
    """
    return aoi_server.wait_for
