"""An AOI Server with webhooks and Web Push, and HTTP receivers on loopback."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from aoi_events import DeviceRequests, Publisher
from aoi_events.channels.webpush.vapid import new_key
from aoi_events.testing import AoiServer, WaitFor
from tests.integration.http.amqp_device import AmqpDevice
from tests.support.containers import in_containers
from tests.support.receivers import Receiver

BOTH = pytest.mark.parametrize(
    "backend", ["memory+sqlite", in_containers("rabbitmq+postgresql")], indirect=True
)
"""Marks tests that run on the real broker and store, too."""

MakeDevice = Callable[..., Awaitable[AmqpDevice]]


@pytest.fixture
def aoi_settings() -> Mapping[str, Any]:
    """Settings that allow loopback, and that have short time limits."""
    outgoing = {
        "enabled": True,
        "allow_http": True,
        "networks": ["127.0.0.0/8"],
        "ports": [],
        "within": 1.0,
        "ack_within": 5.0,
    }
    private, _ = new_key()
    signing = base64.b64encode(secrets.token_bytes(32)).decode()
    return {
        "channels": {
            "webhook": {**outgoing, "signing_key": signing},
            "webpush": {
                **outgoing,
                "private_key": private,
                "contact": "mailto:ops@example.org",
            },
        },
        "policy": {"retry_first": 0.1, "poll": 0.05},
    }


@pytest.fixture(params=["memory+sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where the test runs; see BOTH."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, backend: str) -> AoiServer:
    """Every worker and a gateway."""
    name = "aoi" if backend == "memory+sqlite" else "aoi_rabbitmq"
    server: AoiServer = request.getfixturevalue(name)
    return server


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A device's own receiver, or a push service."""
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def wait_for(server: AoiServer) -> WaitFor:
    """Waits for an event of the server."""
    return server.wait_for


@pytest.fixture
async def shop(server: AoiServer) -> Publisher:
    """An Application Server."""
    return await server.publisher()


@pytest.fixture
async def make_device(server: AoiServer) -> AsyncIterator[MakeDevice]:
    """Makes devices."""
    async with DeviceRequests(server.installation.broker) as requests:

        async def make(name: str = "device") -> AmqpDevice:
            device = AmqpDevice(requests, name)
            await device.register()
            return device

        yield make
