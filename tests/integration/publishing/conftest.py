"""A whole installation in this process, on memory and on RabbitMQ, and a sender beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.process import serve
from aoi_events.bootstrap.settings import HealthSettings, Settings
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.platform.tasks import first_completed
from aoi_events.publishing import DeviceRequests, Publisher
from aoi_events.testing.containers import RabbitServer
from tests.support.containers import in_containers
from tests.support.limits import WITHIN
from tests.support.publishing_device import Device


@dataclass(frozen=True)
class Urls:
    """Where the workers, a sender and a fleet of devices reach the broker, each as itself."""

    workers: str
    shop: str
    fleet: str


@dataclass(frozen=True)
class Running:
    """Workers that take work."""

    urls: Urls
    gateway_port: int


@pytest.fixture
def rabbit_urls(rabbit_server: RabbitServer, rabbit_vhost: str) -> Urls:
    """RabbitMQ, where each sender has the documented permissions and no more."""
    own = r"aoi\.reply\.shop\..*"
    urls = Urls(
        workers=rabbit_server.url(rabbit_vhost),
        shop=rabbit_server.add_user(rabbit_vhost, "shop"),
        fleet=rabbit_server.add_user(rabbit_vhost, "fleet"),
    )
    rights = {
        "shop": (f"^{own}$", rf"^(aoi\.requests|{own})$", rf"^(aoi\.events|{own})$"),
        "fleet": ("^$", r"^aoi\.requests$", "^$"),
    }
    for user, (configure, write, read) in rights.items():
        rabbit_server.api(
            "PUT",
            f"/permissions/{rabbit_vhost}/{user}",
            {"configure": configure, "write": write, "read": read},
        )
    topics = {
        ("shop", "aoi.requests"): (r"^notification\.(send|cancel|status)$", "^$"),
        ("shop", "aoi.events"): ("^$", r"^notification\.[a-z*]+\.shop$"),
        ("fleet", "aoi.requests"): (
            r"^(client\.(de)?register|application\..*|channel\..*|notification\.fetch)$",
            "^$",
        ),
    }
    for (user, exchange), (write, read) in topics.items():
        rabbit_server.api(
            "PUT",
            f"/topic-permissions/{rabbit_vhost}/{user}",
            {"exchange": exchange, "write": write, "read": read},
        )
    return urls


@pytest.fixture(params=["memory", in_containers("rabbitmq")])
def urls(request: pytest.FixtureRequest) -> Urls:
    """Each of the brokers."""
    if request.param == "rabbitmq":
        found: Urls = request.getfixturevalue("rabbit_urls")
        return found
    return Urls("memory://", "memory://shop@", "memory://fleet@")


async def _run(urls: Urls, folder: Path, stack: AsyncExitStack) -> Running:
    settings = Settings(
        broker=SecretStr(urls.workers),
        store=SecretStr(f"sqlite:///{folder / 'aoi.sqlite3'}"),
        key_file=folder / "keys.json",
        gateway=GatewaySettings(port=0),
        endpoint=EndpointSettings(port=0),
        health=HealthSettings(enabled=False),
    )
    installation = await stack.enter_async_context(open_installation(settings, alone=True))
    stop, started = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(installation, stop, lambda _: started.set()))

    async def end() -> None:
        stop.set()
        assert await serving == 0

    stack.push_async_callback(end)
    async with asyncio.timeout(WITHIN):
        _, starting = await first_completed(serving, started.wait())
    assert not starting.cancelled(), serving
    return Running(urls, installation.gateway.port)


@pytest.fixture
async def running(urls: Urls, tmp_path: Path) -> AsyncIterator[Running]:
    """Every worker, at work, on each of the brokers."""
    async with AsyncExitStack() as stack:
        yield await _run(urls, tmp_path, stack)


@pytest.fixture
async def on_rabbitmq(rabbit_urls: Urls, tmp_path: Path) -> AsyncIterator[Running]:
    """Every worker, at work, on RabbitMQ."""
    async with AsyncExitStack() as stack:
        yield await _run(rabbit_urls, tmp_path, stack)


@pytest.fixture
async def publisher(running: Running) -> AsyncIterator[Publisher]:
    """The sender ``shop``."""
    async with Publisher(running.urls.shop) as publisher:
        yield publisher


@pytest.fixture
async def device(running: Running) -> AsyncIterator[Device]:
    """A device with an app, not connected, no channel active."""
    async with DeviceRequests(running.urls.fleet) as requests:
        device = Device(requests)
        await device.register()
        yield device
