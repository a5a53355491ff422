"""A whole AOI Server with an SMSC on loopback, and telephones in the hand of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from aoi_events import DeviceRequests, Publisher
from aoi_events.testing import AoiServer, LoopbackSmsc, WaitFor
from tests.integration.sms.handset import Handset
from tests.support.containers import in_containers

BOTH = pytest.mark.parametrize(
    "backend", ["memory+sqlite", in_containers("rabbitmq+postgresql")], indirect=True
)
"""Marks tests that run on the real broker and store, too."""

MakeHandset = Callable[..., Awaitable[Handset]]


@pytest.fixture
def aoi_settings() -> Mapping[str, Any]:
    """Waits on the wire are short; those that the server's clock decides are put forward."""
    sms = {
        # What the SMSC does not answer is noticed by response_time, before this.
        "ack_within": 600.0,
        "throttle_pause": 0.05,
        "response_time": 3.0,
        "turn_time": 1.0,
        "connect_time": 0.5,
        "reconnect_first": 0.02,
        "reconnect_most": 0.1,
    }
    return {"channels": {"sms": sms}, "policy": {"retry_first": 0.1, "poll": 0.05}}


@pytest.fixture(params=["memory+sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where the test runs; see BOTH."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, backend: str) -> AoiServer:
    """Every worker, a gateway and an SMSC."""
    name = "aoi" if backend == "memory+sqlite" else "aoi_rabbitmq"
    server: AoiServer = request.getfixturevalue(name)
    return server


@pytest.fixture
def smsc(server: AoiServer) -> LoopbackSmsc:
    """The SMSC."""
    return server.smsc


@pytest.fixture
def wait_for(server: AoiServer) -> WaitFor:
    """Waits for what the server and its devices tell."""
    return server.wait_for


@pytest.fixture
async def shop(server: AoiServer) -> Publisher:
    """An Application Server."""
    return await server.publisher()


@pytest.fixture
async def handset(server: AoiServer) -> AsyncIterator[MakeHandset]:
    """Makes telephones; with ``proved`` (the default) their number is active already."""
    async with DeviceRequests(server.installation.broker) as requests:

        async def make(number: str = "+31600000001", *, proved: bool = True) -> Handset:
            handset = Handset(requests, server.smsc, number)
            await handset.register()
            if proved:
                await handset.prove()
            return handset

        yield make
